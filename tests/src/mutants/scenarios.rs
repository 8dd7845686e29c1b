//! Ways to where random seeds seldom come.

use std::collections::BTreeSet;
use std::time::Duration;

use funk_proto::consensus::{Consensus, ConsensusConfig};
use funk_proto::id::{BootId, ClusterId, Incarnation, LogIndex, RaftId, ShardId, Term};
use funk_proto::liveness::{Ack, Liveness, LivenessOutput, MemberView};
use funk_proto::rng::{Rng, Stream};
use funk_proto::shards::plan::{Releases, Waits, plan};
use funk_proto::state::set;
use funk_proto::state::{ClusterValues, State};
use funk_proto::wire::cluster::{Command, DownRecord, MemberRecord, Op, Operation, Transfer};
use funk_proto::wire::liveness::Grant;
use funk_proto::{Ownership, Seed, Timestamp, Timing};

use super::{cuts, insiders, leases, rings, rumours, storms, strangers, young};
use crate::leases::{Clock, DRIFT, Fate, NODES, World};
use crate::slow;

/// What a scenario is called, and what it does: it says what was broken.
pub type Scenario = (&'static str, fn() -> Option<String>);

/// Shards of a leader that is lost where packets take 100 ms are served again by then.
const SOON: Duration = Duration::from_millis(2_140);

/// Those that take no time.
pub const SCENARIOS: &[Scenario] = &[
    ("clocks drift and packets are late", drifting_leases),
    ("a clock stands still in a pause", clock_stood_still),
    ("a member starts again", restarted_member),
    ("entries and releases are about another time", other_times),
    ("both halves of a joint configuration back a leader", joint_authority),
    ("a leader of a term that is over goes on", former_leader),
    ("a voter votes after it promised", kept_promises),
    ("an ack comes after the lease grew", leases::late_ack),
    ("the authority of a leader is about over", leases::grant_ends_with_authority),
    ("a heartbeat says another lease", leases::promises_follow_heartbeats),
    ("a voter's promise is longer than the candidate's lease", leases::unknown_promise),
    ("a grant is shorter than the lease", leases::short_grant),
    ("a voter with a disk starts again", leases::restarted_voter),
    ("the lease shrinks", leases::shrinking_lease),
    ("every datagram is slow", leases::slow_network),
    ("every vote is slow", leases::slow_votes),
    ("a leader ends far away", || slow::lost_leaders(slow::Loss::Reaped, 1..=8, SOON)),
    ("a leader is killed far away", || slow::lost_leaders(slow::Loss::Killed, 1..=24, SOON)),
    ("a cluster is far away from a second one", slow::second_bootstrap),
    ("voters change after the lease was long", leases::voters_after_a_long_lease),
    ("voters change after an election", leases::voters_after_an_election),
    ("old words are heard", rumours::old_words),
    ("one voter becomes three", young::voters_change_slowly),
    ("nothing reaches the leader", cuts::deaf_leader),
    ("one voter misses the leader", cuts::one_misses_the_leader),
    ("datagrams get through one way only", cuts::one_way_datagrams),
    ("newcomers end at once", cuts::newcomers),
    ("a process that was found dead starts again", cuts::another_boot),
    ("a machine stands still with its clock", cuts::stopped_clock),
    ("a grant says an hour", strangers::long_grant),
    ("a follower grants a lease", strangers::grant_of_a_follower),
    ("a member has applied other entries", strangers::diverged_member),
    ("a member is behind the leader's snapshot", strangers::slower_member),
    ("a datagram's counter is far ahead", strangers::spent_counter),
    ("a stranger sends members' frames", strangers::forged_frames),
    ("a stranger sends a member's frames in its name", strangers::claimed_name),
    ("a stranger answers elsewhere in a member's name", strangers::claimed_place),
    ("a non-member sends members' frames", insiders::guest),
    ("a member sends what others may", insiders::member),
    ("a member sends a log of its own", insiders::second_leader),
    ("a member refuses what it was not asked", insiders::refused_proposal),
    ("a member proposes in another's name", insiders::borrowed_boot),
    ("a vote promises an age", insiders::endless_promise),
    ("gossip names large numbers", rumours::large_numbers),
    ("members were away while the gossip keys changed", rings::two_were_away),
];

/// Those that try many worlds.
pub const STORMS: &[Scenario] = &[
    ("leaders are cut off", storms::lost_leaders),
    ("a leader steps down and a member is lost", storms::step_down_and_lose),
    ("leaders are heard by half", storms::half_heard_leaders),
    ("links are slow", storms::slow_links),
    ("voters change", storms::voters_change),
    ("a name has many boots", storms::many_boots),
];

/// One leader and its followers, on clocks at the edge of the bound.
fn drifting_leases() -> Option<String> {
    (0..100).find_map(|seed| {
        let mut rng = Rng::new(Seed::from_u64(seed), Stream::Liveness);
        let mut clocks = Vec::new();
        for _ in 0..NODES {
            let drift = if rng.below(2) == 0 { DRIFT } else { -DRIFT };
            clocks.push(Clock::new(drift, rng.below(1_000_000_000)));
        }
        let mut fate = || {
            let longest = [1_000, 60_000, 400_000][usize::try_from(rng.below(3)).expect("small")];
            let delay_us = 50 + u32::try_from(rng.below(longest)).expect("small");
            let lease_ms =
                if rng.below(8) == 0 { [150, 300, 600][usize::try_from(rng.below(3)).expect("small")] } else { 0 };
            Fate { delay_us, lost: rng.below(10) == 0, doubled: rng.below(10) == 0, lease_ms }
        };
        let fates = (0..60).map(|_| fate()).collect();
        let mut world = World::new(clocks, fates, Timing::default());
        (0..600).find_map(|_| world.step().err())
    })
}

fn id(n: u64) -> RaftId {
    RaftId::new(n).expect("not zero")
}

fn boot(n: u64) -> BootId {
    BootId::new(n).expect("not zero")
}

/// The machine slept, and its clock with it: only the gap tells.
fn clock_stood_still() -> Option<String> {
    let (now, gap, timing) = (Timestamp::from_millis(5_000), Duration::from_secs(1), Timing::default());
    let mut member = Liveness::new(id(2), boot(2), timing);
    member.handle_heartbeat(now, id(1), 1, Term(1), (timing.lease, timing.drift_ppm));
    let Some(LivenessOutput::Send { counter, .. }) = member.poll_output() else { return Some("no ack".into()) };
    member.handle_grant(now, id(1), Grant { echo: counter, length: timing.lease });
    let promised = member.promise_remaining(now);
    member.handle_clock_gap(now, gap);
    if member.lease_until() > now {
        return Some("a lease outlives a sleep".into());
    }
    if member.promise_remaining(now) < promised + gap {
        return Some("a promise passes while its voter sleeps".into());
    }
    leader_slept(now, gap, timing)
}

/// A leader of two, which has sent its first heartbeat.
fn leader_of_two(now: Timestamp, timing: Timing) -> Liveness {
    let mut leader = Liveness::new(id(1), boot(1), timing);
    leader.lead(now, Term(1), Duration::ZERO);
    has_boot(&mut leader, now, boot(2));
    leader.set_ready(now);
    leader
}

/// The second member is this process.
fn has_boot(leader: &mut Liveness, now: Timestamp, second: BootId) {
    let views = [(1, boot(1)), (2, second)];
    let views = views.map(|(n, boot)| MemberView { id: id(n), boot: Some(boot), floor: LogIndex(0) });
    leader.set_members(now, &views, [id(1), id(2)].into(), BTreeSet::new());
}

/// The number of the newest heartbeat.
fn heartbeat(leader: &mut Liveness) -> Option<u64> {
    let mut newest = None;
    while let Some(output) = leader.poll_output() {
        if let LivenessOutput::Send { counter, .. } = output {
            newest = Some(counter);
        }
    }
    newest
}

/// A member starts again, and its new process gets leases: nobody waits for them before the old one's shards are taken.
fn restarted_member() -> Option<String> {
    let (now, timing) = (Timestamp::from_millis(5_000), Timing::default());
    let mut leader = leader_of_two(now, timing);
    let beat = heartbeat(&mut leader)?;
    leader.handle_ack(now, id(2), boot(2), Ack { counter: 1, echo: beat, applied: LogIndex(1), promise: None });
    let former = leader.grant_end(id(2), boot(2));
    let later = now + timing.lease / 2;
    has_boot(&mut leader, later, boot(9));
    leader.handle_timeout(later);
    let beat = heartbeat(&mut leader)?;
    leader.handle_ack(later, id(2), boot(9), Ack { counter: 1, echo: beat, applied: LogIndex(1), promise: None });
    if leader.grant_end(id(2), boot(9)) <= former {
        return Some("a new process gets no lease".into());
    }
    let moved = leader.grant_end(id(2), boot(2)) != former;
    moved.then(|| "the shards of a process that is gone wait for the leases of the next".to_owned())
}

fn leader_slept(now: Timestamp, gap: Duration, timing: Timing) -> Option<String> {
    let mut leader = leader_of_two(now, timing);
    let beat = heartbeat(&mut leader)?;
    leader.handle_ack(now, id(2), boot(2), Ack { counter: 1, echo: beat, applied: LogIndex(1), promise: None });
    let before = leader.grant_end(id(2), boot(2));
    leader.handle_clock_gap(now, gap);
    let waits = leader.grant_end(id(2), boot(2)) >= before + gap;
    (!waits).then(|| "a grant runs out while its leader sleeps".to_owned())
}

/// Only the new voters answer, while the old ones count as well.
fn joint_authority() -> Option<String> {
    let (now, timing) = (Timestamp::from_millis(5_000), Timing::default());
    let mut leader = Liveness::new(id(1), boot(1), timing);
    let views = [1, 2, 3, 4, 5].map(|n| MemberView { id: id(n), boot: Some(boot(n)), floor: LogIndex(0) });
    leader.lead(now, Term(1), Duration::ZERO);
    leader.set_members(now, &views, [id(1), id(4), id(5)].into(), [id(1), id(2), id(3)].into());
    leader.set_ready(now);
    while let Some(output) = leader.poll_output() {
        let LivenessOutput::Send { to, counter, .. } = output else { continue };
        if to >= id(4) {
            leader.handle_ack(
                now,
                to,
                boot(to.get()),
                Ack { counter: 1, echo: counter, applied: LogIndex(1), promise: None },
            );
        }
    }
    let backed = leader.authority_until() > now;
    backed.then(|| "half of a joint configuration backs a leader".to_owned())
}

/// A node follows a leader, and then hears one of an earlier term.
fn former_leader() -> Option<String> {
    let now = Timestamp::from_millis(5_000);
    let config = ConsensusConfig { id: id(2), bootstrap: None, kept_lease: Duration::ZERO };
    let mut voter = Consensus::new(config, Seed::from_u64(1), now);
    if voter.handle_heartbeat(now, id(3), Term(5), LogIndex(1)) != Ok(true) {
        return Some("a leader is not believed".into());
    }
    let acked = voter.handle_heartbeat(now, id(1), Term(4), LogIndex(1)) == Ok(true);
    acked.then(|| "an ack backs a leader whose term is over".to_owned())
}

/// What a voter promised is told with each vote, whatever came before it.
fn kept_promises() -> Option<String> {
    let (now, timing) = (Timestamp::from_millis(5_000), Timing::default());
    let mut voter = Liveness::new(id(2), boot(2), timing);
    voter.tell_promise(now, true);
    voter.handle_heartbeat(now, id(1), 1, Term(1), (timing.lease, timing.drift_ppm));
    if voter.tell_promise(now, false) < timing.lease {
        return Some("a vote reports the state before an ack".into());
    }
    if voter.tell_promise(now, false) < timing.lease {
        return Some("a second vote tells nothing of an ack".into());
    }
    let mut next = Liveness::new(id(2), boot(3), timing);
    next.honour_former_boot(now);
    (next.tell_promise(now, false) < timing.lease).then(|| "a promise ends with its process".to_owned())
}

/// A map that has moved on, a boot that is gone, a move that is over.
fn other_times() -> Option<String> {
    let values = ClusterValues {
        id: ClusterId::new(1)?,
        name: "c".into(),
        created_ns: 0,
        lease: Duration::from_millis(150),
        lease_min: Duration::from_millis(150),
        lease_max: Duration::from_millis(600),
        lease_reason: funk_proto::state::LeaseReason::default(),
        drift_ppm: 10_000,
        ownership: Ownership::default(),
        generation: 1,
        former: Vec::new(),
    };
    let mut state = State::new(values, 4);
    let all: Vec<ShardId> = (0..4).map(ShardId).collect();
    state.apply(LogIndex(2), command([Op::Up(record(1)), Op::Up(record(2))]));
    state.apply(LogIndex(3), command([Op::Owned(transfer(2, 1, &all))]));
    state.apply(LogIndex(4), command([Op::Owned(transfer(2, 2, &all))]));
    let owner = |n| Incarnation { id: id(n), boot: boot(n) };
    if state.map.held_by(owner(1)) != 4 {
        return Some("a plan on an old map moves shards".into());
    }
    state.apply(LogIndex(5), command([Op::Down(DownRecord { id: 2, boot: 99, stopped: false })]));
    if !state.members.is_up(id(2), boot(2)) {
        return Some("a boot dies of another's death".into());
    }
    state.apply(LogIndex(6), command([Op::Moving(transfer(5, 2, &all[..2]))]));
    let mut releases = Releases::default();
    releases.insert(owner(1), LogIndex(3), &all[..2]);
    releases.prune(&state);
    let grant_end = |_| Timestamp::MAX;
    let now = Timestamp::from_millis(1);
    let waits = Waits {
        now,
        me: owner(9),
        inherited_until: Timestamp::ZERO,
        ended: &|_| false,
        grant_end: &grant_end,
        answers: &|_| true,
    };
    let gives = plan(&state, &releases, &waits).operations.iter().any(|op| matches!(op, Op::Owned(_)));
    gives.then(|| "a release of an earlier move counts".to_owned())
}

fn record(n: u64) -> MemberRecord {
    let address = |port: u64| format!("10.0.0.{n}:{port}");
    MemberRecord {
        id: n,
        boot: n,
        name: format!("n{n}"),
        serf: address(1),
        raft: address(2),
        liveness: address(3),
        weight: 1,
        ..MemberRecord::default()
    }
}

fn transfer(seen: u64, to: u64, shards: &[ShardId]) -> Transfer {
    Transfer { seen, to, boot: to, shards: set::encode(shards) }
}

fn command<const N: usize>(ops: [Op; N]) -> Command {
    Command { operations: ops.map(|op| Operation { op: Some(op) }).into() }
}
