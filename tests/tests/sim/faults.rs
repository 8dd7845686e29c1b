//! Each kind of fault, alone: it bites, and the cluster survives it.

use funk_sim::fault::{Fault, Kind};
use funk_sim::plan::Plan;
use funk_sim::{Outcome, Tally, run};

/// A run of 15 simulated seconds of five nodes with one kind of fault, twice.
fn with(kind: Kind, nodes: u64, length: u64, amount: u64) -> Outcome {
    with_disks(false, kind, nodes, length, amount)
}

/// The same; with `durable`, disks outlive the processes.
fn with_disks(durable: bool, kind: Kind, nodes: u64, length: u64, amount: u64) -> Outcome {
    let mut plan = Plan::quiet(11, 5);
    plan.durable = durable;
    twice(plan, kind, nodes, length, amount)
}

/// The same in another world.
fn with_seed(seed: u64, kind: Kind, nodes: u64, length: u64, amount: u64) -> Outcome {
    twice(Plan::quiet(seed, 5), kind, nodes, length, amount)
}

fn twice(mut plan: Plan, kind: Kind, nodes: u64, length: u64, amount: u64) -> Outcome {
    plan.shards = 20;
    (plan.heal_at, plan.end_at) = (9_000, 24_000);
    plan.faults = [4_000, 6_500].map(|at| Fault { at, length, kind, nodes, amount }).into();
    let outcome = run(&plan, true);
    if let Some(violation) = &outcome.violation {
        let story = outcome.story.expect("it was asked for");
        let last = story.lines.len().saturating_sub(40);
        story.lines[last..].iter().for_each(|line| println!("{line}"));
        panic!("{kind:?}: {violation}");
    }
    assert_eq!(outcome.tally.faults.get(kind.word()), Some(&2), "{kind:?} began twice");
    outcome
}

fn quiet() -> Tally {
    let mut plan = Plan::quiet(11, 5);
    plan.shards = 20;
    (plan.heal_at, plan.end_at) = (9_000, 24_000);
    run(&plan, false).tally
}

fn told(outcome: &Outcome, what: &str) -> usize {
    outcome.story.iter().flat_map(|story| &story.lines).filter(|line| line.text.contains(what)).count()
}

#[test]
fn a_killed_process_starts_anew() {
    for kind in [Kind::Kill, Kind::PowerOff, Kind::Wipe, Kind::MassKill] {
        let outcome = with(kind, 0b10, 1_000, 0);
        assert!(outcome.tally.starts >= 7, "{kind:?}: {} starts", outcome.tally.starts);
        assert!(told(&outcome, "sees n1 fail") > 0, "{kind:?} is noticed");
    }
}

#[test]
fn a_moved_node_comes_back_under_another_address() {
    let outcome = with(Kind::Move, 0b10, 700, 0);
    assert!(told(&outcome, "dials 10.0.1.2") > 0);
}

#[test]
fn a_restart_storm_restarts() {
    assert!(with(Kind::RestartStorm, 0b10, 2_000, 6).tally.starts >= 9);
}

#[test]
fn a_stopped_process_goes_on_and_has_lost_its_lease() {
    let outcome = with(Kind::Pause, 0b11, 900, 0);
    assert!(outcome.tally.resumes >= 4);
    assert!(told(&outcome, "is Voting") > 0);
}

#[test]
fn a_machine_stands_still_with_its_clock_and_sees_no_gap() {
    let outcome = with(Kind::Freeze, 0b11, 900, 0);
    assert!(outcome.tally.resumes >= 4);
    assert!(told(&outcome, "the machine and its clock stand still") >= 4);
    assert!(told(&outcome, "the process goes on after 0ns") >= 4);
}

#[test]
fn a_stuttering_process_stops_again_and_again() {
    assert!(with(Kind::Stutter, 0b100, 1_500, 40).tally.resumes > 10);
}

#[test]
fn partitions_of_each_shape_lose_datagrams() {
    let calm = quiet().datagrams_lost;
    for kind in [Kind::Partition, Kind::Outbound, Kind::Inbound, Kind::Partial, Kind::Ring, Kind::Flap] {
        // One of the two of a partial partition may be neither leader nor asked by it.
        let nodes = if kind == Kind::Partial { 0b1111 } else { 0b11 };
        let lost = with(kind, nodes, 1_500, 200).tally.datagrams_lost;
        assert!(lost > calm, "{kind:?}: {lost} of {calm}");
    }
}

#[test]
fn swizzled_clogs_delay_and_lose_nothing() {
    let outcome = with(Kind::SwizzleClog, 0b11111, 2_000, 0);
    assert!(told(&outcome, "fail") + told(&outcome, "sees no leader") > 0, "it is felt");
}

#[test]
fn packets_are_lost_doubled_late_damaged_and_dug_out_again() {
    let calm = quiet();
    assert!(with(Kind::Loss, 0, 2_000, 200_000).tally.datagrams_lost > calm.datagrams_lost + 20);
    assert!(with(Kind::Corrupt, 0, 2_000, 100_000).tally.datagrams_corrupted > 20);
    assert!(with(Kind::Replay, 0, 2_000, 300_000).tally.datagrams_replayed > 50);
    assert!(with(Kind::Duplicate, 0, 2_000, 900_000).tally.datagrams_doubled > 100);
    with(Kind::Reorder, 0, 2_000, 500_000);
    with(Kind::Delay, 0, 2_000, 30_000);
}

#[test]
fn clocks_run_wrong_within_the_bound_and_past_it() {
    with(Kind::Drift, 0b10101, 2_000, 9_999);
    with(Kind::DriftPast, 0b10101, 2_000, 150_000);
}

#[test]
fn a_slow_disk_holds_votes_and_entries_up() {
    let outcome = with(Kind::SlowDisk, 0b11111, 2_000, 300);
    let fast = quiet();
    assert!(outcome.tally.requests_served > 0 && fast.requests_served > 0);
}

#[test]
fn a_flipped_bit_is_never_gone_on_with() {
    let outcome = with_disks(true, Kind::Rot, 0b10, 800, 0);
    assert!(outcome.tally.disks_refused > 0);
    assert!(told(&outcome, "refuses its disk: log-") > 0, "the file is named");
}

#[test]
fn a_node_whose_disk_is_full_stops_and_says_so() {
    let outcome = with_disks(true, Kind::FullDisk, 0b11, 1_200, 0);
    assert!(outcome.tally.disks_failed >= 2, "{}", outcome.tally.disks_failed);
    assert!(outcome.tally.goodbyes > 0 && outcome.tally.starts > 5);
}

#[test]
fn a_process_that_ends_says_so_itself_or_another_does() {
    for amount in [0, 1] {
        let outcome = with(Kind::Exit, 0b10, 800, amount);
        assert!(outcome.tally.goodbyes >= 8 && told(&outcome, "sees n1 fail") > 0);
    }
}

#[test]
fn false_goodbyes_end_nobody() {
    let mut plan = Plan::quiet(11, 5);
    (plan.shards, plan.heal_at, plan.end_at) = (20, 9_000, 24_000);
    let fault = |at, length, kind, nodes, amount| Fault { at, length, kind, nodes, amount };
    // Some that were true once, and then many at the time of the next boots.
    plan.faults = vec![fault(4_000, 500, Kind::Exit, 0b10, 0), fault(5_500, 3_000, Kind::FalseGoodbye, 0b11111, 40)];
    let outcome = run(&plan, true);
    assert_eq!(outcome.violation, None);
    assert!(outcome.tally.injected > 300);
    let meanwhile = |line: &&funk_sim::story::Line| {
        let at = line.at - funk_proto::Timestamp::ZERO;
        (5_500..9_000).contains(&at.as_millis())
    };
    let story = outcome.story.expect("it was asked for");
    let failed = story.lines.iter().filter(meanwhile).filter(|line| line.text.contains(" fail")).count();
    assert_eq!(failed, 0);
}

#[test]
fn operations_move_shards_and_members() {
    let calm = quiet();
    for (kind, amount) in [(Kind::Pin, 10 * 20), (Kind::Weigh, 9), (Kind::Drain, 0)] {
        let moves = with(kind, 0b100, 1_500, amount).tally.moves;
        assert!(moves > calm.moves + 20, "{kind:?}: {moves} of {}", calm.moves);
    }
    assert!(told(&with(Kind::Evict, 0b100, 2_000, 0), "sees n2 leave") >= 6);
    let updates = |tally: &Tally| tally.messages.get("update").copied().unwrap_or(0);
    assert!(updates(&with(Kind::Endpoint, 0b100, 1_000, 1_234).tally) >= updates(&calm) + 4);
}

#[test]
fn hosts_may_differ_in_weight_capacity_zone_and_part() {
    for seed in 0..4 {
        let mut plan = Plan::quiet(seed, 5);
        (plan.shards, plan.heal_at, plan.end_at, plan.mixed) = (20, 5_000, 15_000, true);
        assert_eq!(run(&plan, false).violation, None, "seed {seed}");
    }
}

#[test]
fn nodes_are_upgraded_one_by_one_and_one_goes_back() {
    let mut plan = Plan::quiet(11, 5);
    (plan.shards, plan.heal_at, plan.end_at) = (20, 10_000, 24_000);
    let upgrade =
        |(n, nodes): (u64, u64)| Fault { at: 3_500 + 1_000 * n, length: 200, kind: Kind::Upgrade, nodes, amount: 0 };
    plan.faults = (0..).zip([1, 2, 4, 8, 16, 2]).map(upgrade).collect();
    let outcome = run(&plan, true);
    assert_eq!(outcome.violation, None);
    assert!(outcome.tally.later_frames > 500, "{}", outcome.tally.later_frames);
    assert!(told(&outcome, "drops what a peer sent") > 0, "frames of unknown kinds are told of");
}

#[test]
fn a_gray_node_is_neither_dead_nor_alive() {
    let outcome = with(Kind::Gray, 0b10, 2_000, 0);
    assert!(outcome.tally.resumes > 5 && outcome.tally.datagrams_lost > 0);
}

#[test]
fn a_node_that_refuses_its_callers_is_told_of() {
    with(Kind::Deaf, 0b1, 2_000, 0);
    assert!(told(&with(Kind::Shut, 0b10, 2_000, 0), "all streams are reset") > 0);
    let outcome = with(Kind::Reject, 0b1, 2_000, 0);
    assert!(told(&outcome, "fail") > 0, "nobody hears it");
}

#[test]
fn forged_news_ends_streams_and_deposes_nobody_for_good() {
    assert!(told(&with(Kind::Forge, 0b111, 2_000, 15), "a forged reset ends") > 0);
}

#[test]
fn an_impostor_is_refused_while_the_name_is_held() {
    assert!(told(&with(Kind::Impostor, 0b10, 2_000, 0), "is refused") > 0);
}

#[test]
fn another_cluster_changes_nothing_in_ours() {
    for (same_name, joins) in [(0, 0), (1, 2)] {
        let outcome = with(Kind::Foreign, 0b10, 2_000, same_name);
        assert_eq!(told(&outcome, "sees n5 join") + told(&outcome, "sees n6 join"), joins);
    }
}

#[test]
fn garbage_and_floods_are_dropped() {
    for (kind, amount) in [(Kind::Malformed, 40), (Kind::Flood, 3_000)] {
        let outcome = with(kind, 0b111, 1_000, amount);
        assert!(outcome.tally.injected > 50, "{kind:?}");
    }
}

#[test]
fn what_strangers_say_in_members_names_is_refused() {
    let outcome = with(Kind::Slander, 0b111, 2_000, 20);
    assert!(told(&outcome, "has no right to send it") > 50);
    assert_eq!(outcome.tally.leader_changes, quiet().leader_changes);
}

#[test]
fn what_members_say_in_others_names_is_refused() {
    let outcome = with(Kind::Insider, 0b110, 2_000, 40);
    assert!(told(&outcome, "what is not its to say") > 80);
    assert!(told(&outcome, "has no right to send it") > 10);
    assert_eq!(outcome.tally.leader_changes, quiet().leader_changes);
}

#[test]
fn crowds_of_strangers_at_one_moment_move_nothing() {
    for seed in 11..14 {
        let outcome = with_seed(seed, Kind::Crowd, 0b111, 1, 500);
        assert!(outcome.tally.injected > 300, "{}", outcome.tally.injected);
        let lines = outcome.story.iter().flat_map(|story| &story.lines);
        // From the first fault until a core is healed.
        let meanwhile = lines.filter(|line| (4..9).contains(&(line.at.as_nanos() / 1_000_000_000)));
        let elected: Vec<_> = meanwhile.filter(|line| line.text.contains("is Leader in term")).collect();
        assert!(elected.is_empty(), "seed {seed}: {elected:?}");
    }
}

#[test]
fn a_large_foreign_pool_moves_nothing() {
    let outcome = with(Kind::Pool, 0b1010, 1, 3_000);
    assert!(told(&outcome, "foreign bytes") >= 4);
    assert_eq!(outcome.tally.leader_changes, quiet().leader_changes);
}

#[test]
fn nodes_join_and_leave() {
    assert!(told(&with(Kind::Join, 0, 1_000, 0), "has left") > 0);
    assert!(told(&with(Kind::Leave, 0b100, 1_500, 0), "has left") > 0);
}

#[test]
fn a_leader_steps_down_when_asked() {
    assert!(with(Kind::StepDown, 0, 1, 0).tally.leader_changes > quiet().leader_changes);
}
