use super::*;
use crate::config::TimingProfile;
use crate::wire::liveness::Grant;

fn id(n: u64) -> RaftId {
    RaftId::new(n).unwrap()
}

fn boot(n: u64) -> BootId {
    BootId::new(n).unwrap()
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn machine(n: u64) -> Liveness {
    Liveness::new(id(n), boot(n), Timing::default())
}

fn drain(machine: &mut Liveness) -> Vec<LivenessOutput> {
    std::iter::from_fn(|| machine.poll_output()).collect()
}

fn leader() -> Liveness {
    let mut leader = machine(1);
    leader.lead(at(1000), Term(2), Duration::ZERO);
    let views: Vec<_> = (1..=3).map(|n| MemberView { id: id(n), boot: Some(boot(n)), floor: LogIndex(0) }).collect();
    leader.set_members(at(1000), &views, (1..=3).map(id).collect(), BTreeSet::new());
    leader
}

fn beat(leader: &mut Liveness, now: Timestamp) -> Vec<(RaftId, u64, Word)> {
    leader.handle_timeout(now);
    sends(leader)
}

fn sends(machine: &mut Liveness) -> Vec<(RaftId, u64, Word)> {
    let sends = drain(machine).into_iter().filter_map(|output| match output {
        LivenessOutput::Send { to, counter, word } => Some((to, counter, word)),
        _ => None,
    });
    sends.collect()
}

fn timing() -> (Duration, u32) {
    (Timing::default().lease, Timing::default().drift_ppm)
}

#[test]
fn a_member_counts_its_lease_from_its_own_ack() {
    let (mut leader, mut member) = (leader(), machine(2));
    leader.set_ready(at(1000));
    let beats = drain(&mut leader);
    assert_eq!(beats.len(), 2);
    let LivenessOutput::Send { counter, .. } = beats[0] else { panic!() };
    member.handle_heartbeat(at(50), id(1), counter, Term(2), timing());
    let [LivenessOutput::Send { counter: ack, word: Word::Ack { echo, .. }, .. }] = drain(&mut member)[..] else {
        panic!()
    };
    assert_eq!(echo, counter);
    leader.handle_ack(at(1003), id(2), boot(2), Ack { counter: ack, echo, applied: LogIndex(0), promise: None });
    let [LivenessOutput::Send { word: Word::Grant(grant), .. }] = drain(&mut leader)[..] else {
        panic!("a member without a lease is granted at once")
    };
    member.handle_grant(at(54), id(1), grant);
    assert_eq!(grant.length, Duration::from_millis(147), "the authority counts from the heartbeat's send");
    assert_eq!(member.lease_until(), at(50 + 147));
    assert!(leader.grant_end(id(2), boot(2)) >= at(1003 + 147));
    assert_eq!(leader.lease_until(), at(1150));
}

#[test]
fn a_grant_that_echoes_nothing_of_ours_gives_nothing() {
    let mut member = machine(2);
    member.handle_grant(at(1000), id(1), Grant { echo: 4, length: Duration::from_secs(9) });
    assert_eq!(member.lease_until(), Timestamp::ZERO);
}

#[test]
fn a_grant_of_a_member_that_never_led_gives_nothing() {
    let mut node = leader();
    node.set_ready(at(1000));
    let (member, heartbeat, _) = sends(&mut node)[0];
    // A follower says it, to its leader and to a leader of earlier.
    node.handle_grant(at(1010), member, Grant { echo: heartbeat, length: timing().0 });
    node.follow(at(1010), Some(id(3)));
    node.handle_grant(at(1010), member, Grant { echo: heartbeat, length: timing().0 });
    // Nor does it become a leader by a heartbeat that is refused.
    node.handle_stale_heartbeat(at(1020), member, Term(3));
    let (_, refusal, _) = sends(&mut node)[0];
    node.handle_grant(at(1020), member, Grant { echo: refusal, length: timing().0 });
    assert_eq!(node.lease_until(), Timestamp::ZERO);
}

#[test]
fn a_grant_is_cut_to_the_clusters_lease_whoever_says_more() {
    let (lease, drift_ppm) = timing();
    let (hair, hour) = (Duration::from_nanos(1), Duration::from_secs(3600));
    for (said, granted) in [
        (hour, hour),
        (lease, hour),
        (lease, lease + hair),
        (lease + hair, lease * 2),
        (lease * 2, Duration::from_secs(1 << 40)),
        (Duration::MAX, Duration::MAX),
    ] {
        let mut member = machine(2);
        member.set_cluster_timing(ClusterTiming { lease, lease_min: lease, lease_max: lease, drift_ppm });
        member.handle_heartbeat(at(1000), id(1), 1, Term(1), (said, 0));
        let asked = drain(&mut member).into_iter().find_map(|output| match output {
            LivenessOutput::Send { counter, word: Word::Ack { .. }, .. } => Some(counter),
            _ => None,
        });
        member.handle_grant(at(1000), id(1), Grant { echo: asked.unwrap(), length: granted });
        assert_eq!(member.lease_until(), at(1000) + lease, "{said:?} and {granted:?}");
        assert!(member.promise_remaining(at(1000)) < lease * 2, "the promise is one for the cluster's lease, too");
    }
}

#[test]
fn no_lease_before_the_own_term_is_ready() {
    let mut leader = leader();
    let beats = beat(&mut leader, at(1000));
    leader.handle_ack(
        at(1001),
        id(2),
        boot(2),
        Ack { counter: 1, echo: beats[0].1, applied: LogIndex(9), promise: None },
    );
    assert_eq!(drain(&mut leader), []);
    assert_eq!(leader.lease_until(), Timestamp::ZERO);
}

#[test]
fn a_new_leader_inherits_the_latest_promise_of_its_voters_and_its_own() {
    let mut candidate = machine(1);
    candidate.handle_heartbeat(at(1000), id(9), 1, Term(1), timing());
    let own = candidate.promise_remaining(at(1000));
    assert!(own > Duration::from_millis(150));
    candidate.handle_vote(at(1010), Term(2), Duration::from_millis(30));
    candidate.lead(at(1010), Term(2), Duration::ZERO);
    assert_eq!(candidate.inherited_until(), at(1000) + own, "its own is the latest");
    let mut candidate = machine(1);
    candidate.handle_vote(at(1000), Term(2), Duration::from_millis(120));
    candidate.handle_vote(at(1005), Term(3), Duration::from_millis(20));
    candidate.handle_vote(at(1006), Term(2), Duration::from_millis(500));
    candidate.lead(at(1010), Term(3), Duration::ZERO);
    assert_eq!(candidate.inherited_until(), at(1025), "votes of another term do not count");
}

#[test]
fn a_promise_is_never_shortened() {
    let mut voter = machine(2);
    voter.handle_heartbeat(at(1000), id(1), 1, Term(1), timing());
    let until = at(1000) + voter.promise_remaining(at(1000));
    voter.follow(at(1001), None);
    voter.lead(at(1002), Term(5), Duration::ZERO);
    voter.follow(at(1003), Some(id(3)));
    assert_eq!(at(1010) + voter.promise_remaining(at(1010)), until);
}

#[test]
fn a_silent_leader_is_given_up_once_and_a_silent_member_reported_once() {
    let mut voter = machine(2);
    voter.handle_heartbeat(at(1000), id(1), 1, Term(1), timing());
    drain(&mut voter);
    assert_eq!(voter.poll_timeout(), Some(at(1080)));
    voter.handle_timeout(at(1079));
    assert_eq!(drain(&mut voter), []);
    voter.handle_timeout(at(1080));
    voter.handle_timeout(at(1090));
    assert_eq!(drain(&mut voter), [LivenessOutput::LeaderSilent { leader: id(1) }]);

    let mut leader = leader();
    for ms in (1000..1140).step_by(20) {
        let beats = beat(&mut leader, at(ms));
        leader.handle_ack(
            at(ms),
            id(2),
            boot(2),
            Ack { counter: ms, echo: beats[0].1, applied: LogIndex(0), promise: None },
        );
    }
    leader.handle_timeout(at(1151));
    let silent: Vec<_> =
        drain(&mut leader).into_iter().filter(|output| matches!(output, LivenessOutput::MemberSilent { .. })).collect();
    assert_eq!(silent, [LivenessOutput::MemberSilent { id: id(3), boot: boot(3) }]);
    assert!(leader.is_silent(id(3)) && !leader.is_silent(id(2)));
}

#[test]
fn the_former_leader_is_silent_since_it_was_last_heard() {
    let mut voter = machine(1);
    voter.handle_heartbeat(at(1000), id(3), 1, Term(1), timing());
    voter.follow(at(1085), None);
    voter.lead(at(1090), Term(2), Duration::ZERO);
    let views: Vec<_> = (1..=3).map(|n| MemberView { id: id(n), boot: Some(boot(n)), floor: LogIndex(0) }).collect();
    voter.set_members(at(1090), &views, (1..=3).map(id).collect(), BTreeSet::new());
    drain(&mut voter);
    voter.handle_timeout(at(1150));
    assert!(voter.is_silent(id(3)));
    assert!(!voter.is_silent(id(2)));
}

/// It lost the others, not they it: they come back, and one of them is elected.
#[test]
fn a_former_leader_that_still_says_something_is_not_silent() {
    let mut voter = machine(1);
    voter.handle_heartbeat(at(1000), id(3), 1, Term(1), timing());
    voter.handle_frame(at(1050), id(3));
    voter.handle_timeout(at(1085));
    assert!(voter.leader_is_silent(), "a leader is heard by its heartbeats");
    voter.follow(at(1085), None);
    voter.handle_frame(at(2300), id(3));
    voter.handle_frame(at(2350), id(2));
    voter.lead(at(2310), Term(2), Duration::ZERO);
    let views: Vec<_> = (1..=3).map(|n| MemberView { id: id(n), boot: Some(boot(n)), floor: LogIndex(0) }).collect();
    voter.set_members(at(2310), &views, (1..=3).map(id).collect(), BTreeSet::new());
    voter.handle_timeout(at(2449));
    assert!(!voter.is_silent(id(3)));
    voter.handle_timeout(at(2450));
    assert!(voter.is_silent(id(3)), "from then on its acks count");
}

#[test]
fn replayed_and_reordered_datagrams_are_not_admitted() {
    let mut member = machine(2);
    assert!(member.admit(id(1), boot(1), 5));
    assert!(!member.admit(id(1), boot(1), 5));
    assert!(!member.admit(id(1), boot(1), 4));
    assert!(member.admit(id(1), boot(7), 1), "a new boot counts anew");
}

#[test]
fn a_clock_gap_drops_the_lease_and_what_was_asked_for() {
    let mut member = machine(2);
    member.handle_heartbeat(at(1000), id(1), 1, Term(1), timing());
    drain(&mut member);
    member.handle_grant(at(1000), id(1), Grant { echo: 1, length: Duration::from_millis(150) });
    assert_eq!(member.lease_until(), at(1150));
    let promised = member.promise_remaining(at(1000));
    member.handle_clock_gap(at(1100), Duration::from_millis(100));
    assert_eq!(member.lease_until(), Timestamp::ZERO);
    member.handle_grant(at(1100), id(1), Grant { echo: 1, length: Duration::from_millis(150) });
    assert_eq!(member.lease_until(), Timestamp::ZERO, "an ack of before the gap renews nothing");
    assert_eq!(member.promise_remaining(at(1100)), promised);
}

#[test]
fn a_leader_that_hears_no_majority_falls_silent_when_its_followers_would_miss_it() {
    let unheard = |leader: &mut Liveness| drain(leader).contains(&LivenessOutput::QuorumLost);
    let timeout = Timing::default().leader_timeout;
    let mut leader = leader();
    let (mut now, mut last) = (at(1000), at(1000));
    // One of two others answers, later and later; then it does no more.
    for pause in [20, 40, 79] {
        let (_, counter, _) = beat(&mut leader, now)[0];
        now = now + Duration::from_millis(pause);
        leader.handle_ack(
            now,
            id(2),
            boot(2),
            Ack { counter: pause, echo: counter, applied: LogIndex(0), promise: None },
        );
        last = now;
    }
    while now + Duration::from_millis(1) < last + timeout {
        now = now + Duration::from_millis(1);
        leader.handle_timeout(now);
        assert!(!unheard(&mut leader), "{now}");
    }
    assert!(leader.poll_timeout().is_some_and(|at| at <= last + timeout));
    leader.handle_timeout(last + timeout);
    assert_eq!(drain(&mut leader), [LivenessOutput::QuorumLost], "and it beats no more");
}

#[test]
fn a_leader_that_did_not_run_or_has_new_voters_hears_them_first() {
    let unheard = |leader: &mut Liveness| drain(leader).contains(&LivenessOutput::QuorumLost);
    let mut slept = leader();
    slept.handle_clock_gap(at(9000), Duration::from_secs(8));
    slept.handle_timeout(at(9001));
    assert!(!unheard(&mut slept));
    let mut changed = leader();
    changed.set_members(at(1070), &[], [4, 5, 6].map(id).into(), BTreeSet::new());
    changed.handle_timeout(at(1090));
    assert!(!unheard(&mut changed));
    let mut alone = leader();
    alone.set_members(at(1000), &[], [id(1)].into(), BTreeSet::new());
    alone.handle_timeout(at(9000));
    assert!(!unheard(&mut alone), "a sole voter hears itself");
}

#[test]
fn a_leader_whose_votes_came_late_waits_as_long_for_its_first_answers() {
    let (elected_in, timeout) = (Duration::from_millis(200), Timing::default().leader_timeout);
    let mut leader = machine(1);
    leader.lead(at(1000), Term(2), elected_in);
    leader.set_members(at(1000), &[], (1..=3).map(id).collect(), BTreeSet::new());
    let due = at(1000) + elected_in + timeout;
    leader.handle_timeout(at(1000) + elected_in);
    assert!(!drain(&mut leader).contains(&LivenessOutput::QuorumLost));
    leader.handle_timeout(due);
    assert!(drain(&mut leader).contains(&LivenessOutput::QuorumLost));
}

#[test]
fn who_hears_over_a_slow_network_waits_that_much_longer() {
    let (way, timeout) = (Duration::from_millis(100), Timing::default().leader_timeout);
    let mut leader = leader();
    leader.set_ready(at(1000));
    let mut counters = [0; 2];
    for (to, counter, _) in sends(&mut leader) {
        counters[usize::try_from(to.get()).unwrap() - 2] = counter;
    }
    // One answers at once and one late: the faster of the two makes a majority.
    let ack = |echo| Ack { counter: 1, echo, applied: LogIndex(0), promise: None };
    leader.handle_ack(at(1001), id(2), boot(2), ack(counters[0]));
    assert_eq!(leader.round_trip(), Duration::ZERO);
    leader.handle_ack(at(1000) + 2 * way, id(3), boot(3), ack(counters[1]));
    assert_eq!(leader.round_trip(), Duration::ZERO);
    // A member: its leader's grant answers an ack that it sent so long ago.
    let mut member = machine(2);
    member.handle_heartbeat(at(1000), id(1), 1, Term(1), timing());
    drain(&mut member);
    let interval = Timing::default().liveness_interval;
    member.handle_grant(at(1000) + 2 * way + interval, id(1), Grant { echo: 1, length: timing().0 });
    assert_eq!(member.round_trip(), 2 * way);
    assert_eq!(member.poll_timeout(), Some(at(1000) + timeout + 2 * way));
}

#[test]
fn a_member_that_applied_other_entries_gets_no_lease_and_is_told() {
    let (mut leader, mut member) = (leader(), machine(2));
    leader.set_applied(LogIndex(7), 70);
    member.set_applied(LogIndex(7), 71);
    leader.set_ready(at(1000));
    let beats = drain(&mut leader);
    let LivenessOutput::Send { counter, .. } = beats[0] else { panic!() };
    member.handle_heartbeat(at(50), id(1), counter, Term(2), timing());
    let [LivenessOutput::Send { counter: ack, word: Word::Ack { echo, applied, hash, .. }, .. }] =
        drain(&mut member)[..]
    else {
        panic!()
    };
    leader.compare_applied(at(1003), id(2), boot(2), (applied, hash));
    leader.handle_ack(at(1003), id(2), boot(2), Ack { counter: ack, echo, applied, promise: None });
    let said = drain(&mut leader);
    assert_eq!(said[0], LivenessOutput::MemberDiffers { id: id(2), boot: boot(2), index: LogIndex(7) });
    let [LivenessOutput::Send { word: Word::Differs { term: Term(2), index: LogIndex(7) }, .. }] = said[1..] else {
        panic!("{said:?}")
    };
    assert!(leader.differs(id(2)) && !leader.differs(id(3)));
    let beats = beat(&mut leader, at(1020));
    assert!(beats.iter().any(|(to, _, word)| *to == id(2) && matches!(word, Word::Beat { grant: None, .. })));
}

#[test]
fn a_member_that_is_behind_or_says_no_hash_is_no_different() {
    let mut leader = leader();
    [(3, 30), (7, 70)].into_iter().for_each(|(index, hash)| leader.set_applied(LogIndex(index), hash));
    for applied in [(3, 30), (5, 30), (7, 70), (7, 0), (9, 99)] {
        leader.compare_applied(at(1003), id(2), boot(2), (LogIndex(applied.0), applied.1));
    }
    leader.compare_applied(at(1003), id(2), boot(9), (LogIndex(7), 71));
    assert!(!leader.differs(id(2)));
}

#[test]
fn a_counter_that_would_make_all_later_ones_old_is_refused() {
    use crate::limits::COUNTER_WINDOW;
    use crate::wire::liveness::LAST_COUNTER;
    let mut member = machine(2);
    assert!(member.admit(id(1), boot(1), 5));
    for (number, lie) in (6..).zip([u64::MAX - 1, u64::MAX / 2, 1 << 40, 6 + COUNTER_WINDOW + 4]) {
        assert!(!member.admit(id(1), boot(1), lie), "{lie}");
        assert!(member.admit(id(1), boot(1), number), "{lie} is without effect");
    }
    assert!(member.admit(id(1), boot(1), 9 + COUNTER_WINDOW));
    assert!(!member.admit(id(1), boot(3), u64::MAX - 1), "of a new boot too");
    assert!(member.admit(id(1), boot(3), LAST_COUNTER), "nothing comes after a goodbye");
    assert!(!member.admit(id(1), boot(3), 7));
}

#[test]
fn a_node_with_another_profile_keeps_the_clusters_pace() {
    let auto = Timing::default();
    let cluster = ClusterTiming {
        lease: auto.lease,
        lease_min: auto.lease,
        lease_max: auto.lease_cap(),
        drift_ppm: auto.drift_ppm,
    };
    let mut node = Liveness::new(id(2), boot(2), Timing::of(TimingProfile::Wan));
    let timing = node.set_cluster_timing(cluster);
    assert_eq!((timing.lease, timing.leader_timeout), (auto.lease, auto.leader_timeout));
    assert_eq!(timing.liveness_retries, auto.liveness_retries);
    assert!(timing.liveness_interval.abs_diff(auto.liveness_interval) < Duration::from_millis(1));
    let longer = node.set_cluster_timing(ClusterTiming { lease: auto.lease_cap(), ..cluster });
    assert_eq!(longer.leader_timeout, auto.stretched(auto.lease_cap()).leader_timeout);
}

#[test]
fn a_node_that_runs_late_waits_longer_before_it_calls_others_silent() {
    let mut member = machine(2);
    member.handle_heartbeat(at(1000), id(1), 1, Term(1), timing());
    drain(&mut member);
    let due = member.poll_timeout().unwrap();
    member.note_lateness(due, Duration::from_millis(30));
    assert_eq!(member.poll_timeout(), Some(due + Duration::from_millis(30)));
    member.handle_timeout(due);
    assert!(!member.leader_is_silent());
    member.handle_timeout(due + Duration::from_millis(30));
    assert!(member.leader_is_silent());
}
