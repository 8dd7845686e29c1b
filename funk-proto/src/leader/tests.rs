//! The rules of the leader, one by one and without a cluster: node 1 leads, and what the others said is set by hand.

mod conduct;
mod lease;
mod stage;

use std::time::Duration;

use prost::Message;
use stage::{Stage, at, id, node};

use super::{LeaderOutput, Target};
use crate::error::OperationRefused;
use crate::event::Outcome;
use crate::evidence::Proof;
use crate::id::{BootId, Incarnation, LogIndex};
use crate::limits::{LEADER_STALL_MAX, OPERATION_TIMEOUT, PROPOSAL_BYTES_MAX, RAFT_MEMBERS_MAX, WORKER_ID_GUARD};
use crate::request::RequestId;
use crate::state::tests::record;
use crate::wire::cluster::{
    BootName, Command, DownRecord, FrameBody, MemberRecord, Op, Operation, REASON_IDENTITY, REASON_NAME_TAKEN,
    REASON_REMOVED, Refused, WorkerRecord,
};

fn name(n: u64) -> BootName {
    node(n).into()
}

fn pruned(n: u64) -> Op {
    Op::Left(BootName { id: n, boot: 0 })
}

// ---- deaths ----

#[test]
fn a_silent_member_is_declared_dead() {
    let mut stage = Stage::of(3);
    stage.silence(3);
    assert_eq!(
        stage.round(),
        [LeaderOutput::DeclaredDead(1), LeaderOutput::Propose(vec![Op::Down(DownRecord::failed(node(3)))])]
    );
}

#[test]
fn nobody_is_declared_dead_while_no_majority_backs_the_leader() {
    let mut stage = Stage::of(3);
    stage.silence(2);
    stage.silence(3);
    stage.lose_authority();
    assert_eq!(stage.round(), []);
    assert!(stage.leader.poll_round(None).is_some(), "it looks again");
}

#[test]
fn a_goodbye_is_enough_without_any_silence() {
    let mut stage = Stage::of(3);
    stage.evidence.endings.insert(node(2), Proof::Said);
    let round = stage.round();
    assert!(round.contains(&LeaderOutput::Propose(vec![Op::Down(DownRecord::failed(node(2)))])), "{round:?}");
    assert!(round.contains(&LeaderOutput::GivenUp(id(2))), "how long it was silent is measured: {round:?}");
}

#[test]
fn a_majority_of_refused_voters_convinces_after_one_missed_heartbeat() {
    let mut stage = Stage::of(3);
    for witness in [1, 2] {
        stage.evidence.hear(stage.now, id(witness), node(3));
    }
    assert_eq!(stage.proposed(), [], "it may have answered");
    stage.now = stage.now + stage.config.timing.liveness_interval * 2;
    let round = stage.round();
    assert!(round.contains(&LeaderOutput::GivenUp(id(3))), "its silence is too short by itself: {round:?}");
    assert!(round.contains(&LeaderOutput::Propose(vec![Op::Down(DownRecord::failed(node(3)))])));
}

#[test]
fn the_next_boot_of_a_durable_node_ends_the_last_one_if_that_does_not_answer() {
    let mut stage = Stage::of(3);
    let next = MemberRecord { boot: 999, raft: "127.0.0.1:5555".into(), ..record(2) };
    stage.join(&next);
    stage.evidence.endings.insert(node(2), Proof::Lock);
    stage.introduce(&record(2));
    stage.introduce(&next);
    assert_eq!(stage.proposed(), [], "it answered a moment ago, and its stream stands");
    stage.now = stage.now + stage.config.timing.liveness_interval * 3;
    assert_eq!(stage.proposed(), [Op::Down(DownRecord::failed(node(2)))]);
}

#[test]
fn a_member_that_applied_other_entries_is_declared_dead() {
    let mut stage = Stage::of(3);
    stage.diverge(3);
    assert_eq!(stage.proposed(), [Op::Down(DownRecord::failed(node(3)))]);
}

#[test]
fn of_two_processes_with_one_identity_the_one_that_is_not_listed_is_told_of_the_other() {
    let mut stage = Stage::of(3);
    let copy = MemberRecord { boot: 999, raft: "127.0.0.1:5555".into(), ..record(2) };
    let mut refused = Vec::new();
    for _ in 0..25 {
        stage.introduce(&copy);
        stage.join(&copy);
        stage.evidence.endings.insert(node(2), Proof::Lock);
        stage.introduce(&record(2));
        let round = stage.round();
        assert!(!round.iter().any(|output| matches!(output, LeaderOutput::Propose(_))), "{round:?}");
        refused.extend(round.into_iter().filter_map(|output| match output {
            LeaderOutput::Tell(to, body) => Some((to, *body)),
            _ => None,
        }));
        stage.evidence.refute(node(2), stage.now);
        stage.answer();
    }
    let told = Refused {
        reason: REASON_IDENTITY,
        name: "n2".into(),
        address: record(2).raft,
        boot: 999,
        cluster: stage.state.cluster.id.get(),
        ..Refused::default()
    };
    let to = Incarnation { id: id(2), boot: BootId::new(999).unwrap() };
    assert_eq!(refused.last(), Some(&(to, FrameBody::JoinRefused(told))));
    assert!(refused.len() < 15, "not before the listed one has answered for a while: {}", refused.len());
}

// ---- joins ----

#[test]
fn a_newcomer_is_let_in_once_it_is_connected() {
    let mut stage = Stage::of(1);
    stage.join(&record(2));
    assert_eq!(stage.proposed(), [], "it would have to be declared dead at once");
    stage.introduce(&record(2));
    assert_eq!(stage.proposed(), [Op::Up(record(2))]);
}

#[test]
fn a_name_that_a_live_member_has_is_refused_in_the_end() {
    let mut stage = Stage::of(2);
    let namesake = MemberRecord { name: "n2".into(), ..record(5) };
    stage.introduce(&namesake);
    stage.join(&namesake);
    assert_eq!(stage.refused(), [], "the holder may be dead");
    stage.now = stage.now + stage.config.timing.member_timeout() * 2;
    assert_eq!(stage.refused(), [(id(5), REASON_NAME_TAKEN)]);
}

#[test]
fn a_request_of_a_node_that_cannot_be_reached_keeps_no_name_from_one_that_can() {
    let mut stage = Stage::of(1);
    let live = MemberRecord { name: "n2".into(), ..record(5) };
    stage.join(&record(2));
    stage.join(&live);
    stage.introduce(&live);
    assert_eq!(stage.proposed(), [Op::Up(live)]);
}

#[test]
fn a_boot_that_was_removed_is_refused_for_that() {
    let mut stage = Stage::of(2);
    stage.apply([Op::Removed(name(2))]);
    stage.join(&record(2));
    assert_eq!(stage.refused(), [(id(2), REASON_REMOVED)]);
    assert_eq!(stage.proposed(), []);
}

#[test]
fn nobody_unlisted_is_let_in_without_auto_join_unless_an_operator_adds_it() {
    let mut stage = Stage::of(1);
    stage.config.auto_join = false;
    stage.introduce(&record(2));
    stage.join(&record(2));
    assert_eq!(stage.proposed(), []);
    stage.show_in_gossip(2);
    stage.begin(Target::Added("n2".parse().unwrap()));
    stage.join(&record(2));
    assert_eq!(stage.proposed(), [Op::Up(record(2))]);
}

#[test]
fn a_request_to_join_expires() {
    let mut stage = Stage::of(1);
    stage.join(&record(2));
    stage.now = stage.now + Duration::from_secs(2);
    stage.introduce(&record(2));
    assert_eq!(stage.proposed(), []);
}

#[test]
fn requests_of_strangers_keep_no_member_out() {
    let mut stage = Stage::of(3);
    stage.apply([Op::Down(DownRecord::failed(node(3)))]);
    for n in 1000..1000 + RAFT_MEMBERS_MAX as u64 {
        stage.join(&record(n));
    }
    let back = MemberRecord { boot: 999, ..record(3) };
    stage.introduce(&back);
    stage.join(&back);
    assert!(stage.proposed().contains(&Op::Up(back)), "a member of the table has its place");
}

#[test]
fn requests_that_have_expired_make_room() {
    let mut stage = Stage::of(1);
    for n in 1000..1000 + RAFT_MEMBERS_MAX as u64 {
        stage.join(&record(n));
    }
    stage.introduce(&record(2));
    stage.join(&record(2));
    assert!(!stage.proposed().contains(&Op::Up(record(2))), "there is no room for a stranger");
    stage.now = stage.now + Duration::from_secs(2);
    stage.join(&record(2));
    assert!(stage.proposed().contains(&Op::Up(record(2))));
}

#[test]
fn however_much_wants_in_deaths_come_first_and_an_entry_stays_below_its_limit() {
    let mut stage = Stage::of(3);
    for n in 1000..1100 {
        let endpoints = (0..32).map(|k| (format!("ep.{k}{}", "x".repeat(56)), "127.0.0.1:1".to_owned())).collect();
        let large = MemberRecord { endpoints, ..record(n) };
        stage.introduce(&large);
        stage.join(&large);
    }
    stage.evidence.endings.insert(node(3), Proof::Said);
    let ops = stage.proposed();
    assert_eq!(ops[0], Op::Down(DownRecord::failed(node(3))));
    let bytes =
        Command { operations: ops.iter().cloned().map(|op| Operation { op: Some(op) }).collect() }.encoded_len();
    assert!(ops.len() > 1 && bytes <= PROPOSAL_BYTES_MAX, "{} operations, {bytes} bytes", ops.len());
    stage.apply(ops);
    assert!(!stage.proposed().is_empty(), "the rest follows");
}

#[test]
fn however_much_wants_in_a_leaver_comes_first() {
    for strangers in [3, 90, 250] {
        let mut stage = Stage::of(3);
        stage.leave(2);
        for n in 1000..1000 + strangers {
            stage.introduce(&record(n));
            stage.join(&record(n));
        }
        let ops = stage.proposed();
        assert_eq!(ops.first(), Some(&Op::Leave(name(2))), "{strangers} want in");
        assert!(ops.len() > 1);
    }
}

#[test]
fn a_durable_member_that_never_took_part_is_not_kept() {
    let ghosts = (1..=2).map(|n| MemberRecord { durable: n == 2, ..record(n) });
    let mut stage = Stage::of_records(ghosts);
    stage.quorum.voters.remove(&id(2));
    stage.give_all(1);
    stage.apply([Op::Down(DownRecord::failed(node(2)))]);
    assert!(!stage.proposed().contains(&pruned(2)), "shards were taken from it: it comes back");
    let ghost = MemberRecord { durable: true, ..record(3) };
    stage.apply([Op::Up(ghost)]);
    stage.apply([Op::Down(DownRecord::failed(node(3)))]);
    assert!(stage.proposed().contains(&pruned(3)));
}

#[test]
fn in_a_full_table_a_member_that_is_down_makes_way() {
    let mut stage = Stage::of(1);
    let members = (2..=RAFT_MEMBERS_MAX as u64).map(|n| MemberRecord { durable: true, ..record(n) });
    stage.apply(members.map(Op::Up));
    stage.give_all(2);
    stage.give_all(3);
    stage.give_all(1);
    stage.apply([2, 3].map(|n| Op::Down(DownRecord::failed(node(n)))));
    let ops = stage.proposed();
    assert!(ops.contains(&pruned(2)) && !ops.contains(&pruned(3)), "one at a time: {:?}", &ops[..ops.len().min(4)]);
}

// ---- departures ----

#[test]
fn a_leaver_is_drained_then_taken_out_when_it_neither_owns_nor_votes() {
    let mut stage = Stage::of(2);
    stage.give_all(2);
    stage.leave(2);
    assert_eq!(stage.proposed(), [Op::Leave(name(2))]);
    stage.apply([Op::Leave(name(2))]);
    assert!(stage.proposed().iter().all(|op| matches!(op, Op::Moving(_))), "it owns shards");
    stage.give_all(1);
    assert_eq!(stage.proposed(), [], "it votes");
    stage.quorum.voters.remove(&id(2));
    stage.leader.wake();
    assert_eq!(stage.proposed(), [Op::Left(name(2))]);
}

#[test]
fn a_durable_leaver_keeps_its_place_and_its_vote() {
    let mut stage = Stage::of_records((1..=2).map(|n| MemberRecord { durable: true, ..record(n) }));
    stage.give_all(1);
    stage.leave(2);
    stage.apply([Op::Leave(name(2))]);
    assert_eq!(stage.proposed(), [Op::Down(DownRecord::stopped(node(2)))]);
}

#[test]
fn a_leaver_that_is_out_is_told_farewell() {
    let mut stage = Stage::of(1);
    stage.leave(2);
    assert_eq!(stage.round(), [LeaderOutput::Tell(node(2), Box::new(FrameBody::Farewell(name(2))))]);
}

#[test]
fn the_last_to_leave_waits_for_a_joiner_that_could_lead() {
    let mut stage = Stage::of(1);
    stage.apply([Op::Leave(name(1))]);
    stage.join(&record(2));
    assert!(!stage.round().contains(&LeaderOutput::LastOut));
    stage.now = stage.now + Duration::from_secs(2);
    assert!(stage.round().contains(&LeaderOutput::LastOut), "its request has expired");
}

// ---- worker ids ----

#[test]
fn a_worker_id_is_free_when_the_last_lease_has_been_over_for_the_guard_time() {
    let mut stage = Stage::of(2);
    let worker = WorkerRecord { worker: 1, id: 2, boot: 102 };
    assert_eq!(stage.state.workers.of(node(2)).map(|id| u32::from(id.0)), Some(worker.worker));
    stage.apply([Op::Down(DownRecord::failed(node(2)))]);
    assert_eq!(stage.proposed(), []);
    stage.now = stage.lease_end(2) + stage.config.timing.waiter(WORKER_ID_GUARD);
    assert!(stage.proposed().contains(&Op::FreeWorker(worker)));
}

// ---- the map ----

#[test]
fn an_owner_that_loses_shards_gets_no_lease_that_does_not_know_of_it() {
    let mut stage = Stage::of(2);
    stage.give_all(2);
    stage.evidence.endings.insert(node(2), Proof::Said);
    stage.apply([Op::Down(DownRecord::failed(node(2)))]);
    let round = stage.round();
    let raised = round.iter().filter(|output| matches!(output, LeaderOutput::RaiseFloor(loser, _) if *loser == id(2)));
    assert_eq!(raised.count(), 1, "{round:?}");
}

#[test]
fn one_entry_at_a_time() {
    let mut stage = Stage::of(3);
    stage.leave(2);
    assert_eq!(stage.proposed(), [Op::Leave(name(2))]);
    stage.leave(3);
    assert_eq!(stage.proposed(), [], "the last entry is not applied");
    stage.leader.handle_applied(LogIndex(u64::MAX));
    assert_eq!(stage.proposed(), [Op::Leave(name(2)), Op::Leave(name(3))]);
}

#[test]
fn what_consensus_refuses_is_proposed_again() {
    let mut stage = Stage::of(3);
    stage.silence(3);
    stage.refuse_proposals = true;
    assert_eq!(stage.proposed(), [Op::Down(DownRecord::failed(node(3)))]);
    assert_eq!(stage.round(), [], "not at once");
    stage.now = stage.leader.poll_round(None).expect("it looks again");
    assert_eq!(stage.proposed(), [Op::Down(DownRecord::failed(node(3)))]);
}

// ---- voters and leadership ----

#[test]
fn a_dead_voter_is_replaced_once_promises_to_the_last_voters_have_run_out() {
    let mut stage = Stage::of(4);
    stage.quorum.voters.remove(&id(4));
    stage.silence(3);
    let changes = |round: Vec<LeaderOutput>| {
        let changes = round.into_iter().filter_map(|output| match output {
            LeaderOutput::ChangeVoters { voters, .. } => Some(voters),
            _ => None,
        });
        changes.collect::<Vec<_>>()
    };
    let waiting: Vec<_> = changes(stage.round());
    assert!(waiting.iter().all(|voters| *voters == stage.quorum.voters), "only learners may change: {waiting:?}");
    stage.now = stage.now + stage.config.timing.waiter(stage.config.timing.lease);
    assert_eq!(changes(stage.round()), [[id(1), id(2), id(4)].into()]);
}

#[test]
fn a_joint_configuration_is_left_when_the_promises_made_before_it_have_run_out() {
    let mut stage = Stage::of(3);
    stage.quorum.is_joint = true;
    stage.leader.wake();
    assert!(!stage.round().contains(&LeaderOutput::LeaveJoint));
    stage.now = stage.now + stage.config.timing.waiter(stage.config.timing.lease);
    assert!(stage.round().contains(&LeaderOutput::LeaveJoint));
}

#[test]
fn a_leader_that_leaves_hands_over_to_the_voter_furthest_in_the_log() {
    let mut stage = Stage::of(3);
    stage.quorum.matched.insert(id(2), LogIndex(500));
    stage.quorum.matched.insert(id(3), LogIndex(400));
    stage.apply([Op::Leave(name(1))]);
    assert!(stage.round().contains(&LeaderOutput::Transfer(id(2))));
    stage.silence(2);
    stage.now = stage.now + Duration::from_millis(50);
    assert!(stage.round().contains(&LeaderOutput::Transfer(id(3))), "the best one is silent now");
}

#[test]
fn a_leader_whose_disk_hangs_asks_another_to_lead() {
    let mut stage = Stage::of(3);
    stage.oldest_write = Some(stage.now);
    assert!(!stage.round().iter().any(|output| matches!(output, LeaderOutput::Transfer(_))));
    stage.now = stage.now + LEADER_STALL_MAX;
    assert!(stage.round().iter().any(|output| matches!(output, LeaderOutput::Transfer(_))));
}

// ---- operations ----

#[test]
fn a_removal_drains_then_expels_then_is_done() {
    let mut stage = Stage::of(2);
    stage.begin(Target::Removed("n2".parse().unwrap()));
    assert_eq!(stage.proposed(), [Op::Leave(name(2))]);
    stage.quorum.voters.remove(&id(2));
    stage.give_all(1);
    stage.apply([Op::Leave(name(2))]);
    assert_eq!(stage.proposed(), [Op::Removed(name(2))]);
    stage.apply([Op::Removed(name(2))]);
    assert!(stage.round().contains(&LeaderOutput::Done(RequestId(1), Outcome::Done)));
}

#[test]
fn an_operation_on_an_unknown_or_last_member_is_refused_with_the_reason() {
    let mut stage = Stage::of(1);
    let refusal = |stage: &mut Stage, target| match stage.begin(target) {
        Some(Outcome::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    let unknown = refusal(&mut stage, Target::Drained("n9".parse().unwrap()));
    assert_eq!(unknown, OperationRefused::UnknownMember("n9".parse().unwrap()));
    let last = refusal(&mut stage, Target::Drained("n1".parse().unwrap()));
    assert!(matches!(last, OperationRefused::Impossible(why) if why.contains("no other member")));
}

#[test]
fn stepping_down_is_done_when_another_leads_and_other_operations_end_unknown() {
    let mut stage = Stage::of(2);
    stage.begin(Target::Leadership);
    stage.begin(Target::Drained("n2".parse().unwrap()));
    assert!(stage.round().contains(&LeaderOutput::Transfer(id(2))));
    stage.leader.follow(id(1), None);
    assert_eq!(stage.outputs(), [LeaderOutput::Done(RequestId(2), Outcome::Unknown)]);
    stage.leader.follow(id(1), Some(id(2)));
    assert_eq!(stage.outputs(), [LeaderOutput::Done(RequestId(1), Outcome::Done)]);
}

#[test]
fn an_operation_that_takes_too_long_is_given_up() {
    let mut stage = Stage::of(2);
    stage.give_all(2);
    stage.begin(Target::Drained("n2".parse().unwrap()));
    assert_eq!(stage.leader.poll_timeout(), Some(stage.now + OPERATION_TIMEOUT));
    stage.leader.handle_timeout(stage.now + OPERATION_TIMEOUT);
    let ended = stage.outputs();
    assert!(matches!(ended[..], [LeaderOutput::Done(RequestId(1), Outcome::Refused(_))]), "{ended:?}");
}

#[test]
fn nothing_is_done_before_the_first_entry_of_the_term_is_applied() {
    let mut stage = Stage::of(3);
    let until = at(1000) + stage.config.timing.waiter(stage.config.timing.lease);
    stage.leader.lead(at(1000), stage.term, stage.quorum.voters.clone(), until);
    stage.silence(3);
    assert_eq!(stage.round(), []);
    stage.leader.handle_ready();
    assert_eq!(stage.proposed(), [Op::Down(DownRecord::failed(node(3)))]);
}
