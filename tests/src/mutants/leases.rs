//! A lease that changes while nodes know different ones.

use std::time::Duration;

use funk_proto::Request;
use funk_proto::consensus::RaftRole;
use funk_proto::id::{BootId, LogIndex, RaftId, Term};
use funk_proto::liveness::{Ack, Liveness, LivenessOutput, MemberView, Word};
use funk_proto::wire::liveness::Grant;
use funk_proto::{ClusterTiming, Timestamp, Timing};
use funk_sim::network::Conditions;
use funk_sim::{Violation, World};

const NOW: Timestamp = Timestamp::from_millis(5_000);
const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_millis(600);

fn id(n: u64) -> RaftId {
    RaftId::new(n).expect("not zero")
}

fn boot(n: u64) -> BootId {
    BootId::new(n).expect("not zero")
}

fn under(lease: Duration) -> ClusterTiming {
    ClusterTiming { lease, lease_min: SHORT, lease_max: LONG, drift_ppm: Timing::default().drift_ppm }
}

/// A node that knows the short lease.
fn node(n: u64) -> Liveness {
    let mut node = Liveness::new(id(n), boot(n), Timing::default());
    node.set_cluster_timing(under(SHORT));
    node
}

fn hear(voter: &mut Liveness, counter: u64, lease: Duration) {
    voter.handle_heartbeat(NOW, id(1), counter, Term(1), (lease, Timing::default().drift_ppm));
}

/// A heartbeat of the short lease is answered when the leader has applied the long one.
pub(super) fn late_ack() -> Option<String> {
    let mut leader = node(1);
    leader.lead(NOW, Term(1), Duration::ZERO);
    let views = [1, 2].map(|n| MemberView { id: id(n), boot: Some(boot(n)), floor: LogIndex(0) });
    leader.set_members(NOW, &views, [id(1), id(2)].into(), [].into());
    leader.set_ready(NOW);
    let Some(LivenessOutput::Send { counter: echo, .. }) = leader.poll_output() else { return Some("no beat".into()) };
    leader.set_cluster_timing(under(LONG));
    leader.handle_ack(NOW, id(2), boot(2), Ack { counter: 1, echo, applied: LogIndex(1), promise: None });
    let authority = leader.authority_until() - NOW;
    (authority > SHORT).then(|| format!("an ack is worth {authority:?}, for a heartbeat that asked for {SHORT:?}"))
}

/// A member without a vote answers when the time for which the voters back the leader is almost over.
pub(super) fn grant_ends_with_authority() -> Option<String> {
    let mut leader = node(1);
    leader.lead(NOW, Term(1), Duration::ZERO);
    let views = [1, 2, 3].map(|n| MemberView { id: id(n), boot: Some(boot(n)), floor: LogIndex(0) });
    leader.set_members(NOW, &views, [id(1), id(2)].into(), [].into());
    leader.set_ready(NOW);
    let beats: Vec<(RaftId, u64)> = std::iter::from_fn(|| leader.poll_output())
        .filter_map(|output| match output {
            LivenessOutput::Send { to, counter, .. } => Some((to, counter)),
            _ => None,
        })
        .collect();
    let echo_of = |n: u64| beats.iter().find(|(to, _)| *to == id(n)).map_or(0, |&(_, counter)| counter);
    let mut answer = |n: u64, at: Timestamp| {
        leader.handle_ack(
            at,
            id(n),
            boot(n),
            Ack { counter: 1, echo: echo_of(n), applied: LogIndex(1), promise: None },
        );
        std::iter::from_fn(|| leader.poll_output()).find_map(|output| match output {
            LivenessOutput::Send { to, word: Word::Grant(grant), .. } if to == id(n) => Some(grant.length),
            _ => None,
        })
    };
    answer(2, NOW);
    let late = NOW + SHORT * 9 / 10;
    match answer(3, late) {
        None => Some("no lease is granted".into()),
        Some(length) => {
            let left = (NOW + SHORT).since(late);
            (length > left).then(|| format!("{length:?} are granted, and the voters back the leader for {left:?}"))
        }
    }
}

/// A voter promises what each heartbeat asks for, and no later one takes that back.
pub(super) fn promises_follow_heartbeats() -> Option<String> {
    let mut voter = node(2);
    hear(&mut voter, 1, LONG);
    if voter.promise_remaining(NOW) < LONG {
        return Some("a voter promises less than it was asked for".into());
    }
    hear(&mut voter, 2, SHORT);
    (voter.promise_remaining(NOW) < LONG).then(|| "a heartbeat takes a promise back".into())
}

/// A candidate that knows the short lease hears of a promise, or of none.
pub(super) fn unknown_promise() -> Option<String> {
    let longest = node(1).promise_max();
    (longest < LONG).then(|| format!("nobody is believed to promise more than {longest:?}"))
}

/// A leader without much authority grants a short lease.
pub(super) fn short_grant() -> Option<String> {
    let (mut member, length) = (node(2), SHORT / 3);
    hear(&mut member, 1, SHORT);
    let Some(LivenessOutput::Send { counter: echo, .. }) = member.poll_output() else { return Some("no ack".into()) };
    member.handle_grant(NOW, id(1), Grant { echo, length });
    let lease = member.lease_until() - NOW;
    (lease > length).then(|| format!("a member believes in {lease:?}, and was granted {length:?}"))
}

/// A voter hears of a longer lease than its disk knows, and starts again.
pub(super) fn restarted_voter() -> Option<String> {
    let mut voter = node(2);
    voter.set_kept_lease(SHORT);
    hear(&mut voter, 1, LONG);
    let honoured = Timing::default().waiter(SHORT);
    let promise = voter.promise_remaining(NOW);
    if promise > honoured {
        return Some(format!("{promise:?} are promised before the disk knows"));
    }
    let told = std::iter::from_fn(|| voter.poll_output())
        .any(|output| matches!(output, LivenessOutput::Send { word: Word::Ack { promise: Some(SHORT), .. }, .. }));
    if !told {
        return Some("an ack hides that its promise is short".into());
    }
    voter.handle_lease_kept();
    hear(&mut voter, 2, LONG);
    let mut next = node(2);
    next.set_kept_lease(LONG);
    next.honour_former_boot(NOW);
    let lost = next.promise_remaining(NOW) < voter.promise_remaining(NOW);
    lost.then(|| "a restarted voter honours the lease that it knows, not the one that it promised for".into())
}

/// The lease is shorter again while a promise for the long one runs.
pub(super) fn shrinking_lease() -> Option<String> {
    let mut voter = node(2);
    voter.set_kept_lease(LONG);
    hear(&mut voter, 1, LONG);
    hear(&mut voter, 2, SHORT);
    let forgets = std::iter::from_fn(|| voter.poll_output()).any(|output| output == LivenessOutput::KeepLease(SHORT));
    forgets.then(|| "the disk forgets a lease while a promise for it runs".into())
}

/// Three nodes, and a network on which each datagram takes so long, and so many of a million are lost.
fn three(delays_ms: [u64; 2], loss: u32) -> World {
    let mut world = World::new(1);
    let [delay_min, delay_max] = delays_ms.map(Duration::from_millis);
    world.network.conditions = Conditions { delay_min, delay_max, loss, ..Conditions::default() };
    for _ in 0..3 {
        world.start(12);
    }
    world
}

/// How often the leader changes within a minute, after half a minute to get used to the network.
fn changes_within_a_minute(mut world: World) -> Result<u64, String> {
    let broken = |violation: Violation| violation.property.to_owned();
    world.run(Duration::from_secs(30)).map_err(broken)?;
    let before = world.tally.leader_changes;
    world.run(Duration::from_secs(60)).map_err(broken)?;
    if !world.running().iter().all(|&at| world.status(at).leader.is_some()) {
        return Err("there is no leader".into());
    }
    Ok(world.tally.leader_changes - before)
}

/// Nodes far from each other, on bad lines: their leader stays.
pub(super) fn slow_network() -> Option<String> {
    match changes_within_a_minute(three([60, 140], 100_000)) {
        Ok(0) => None,
        Ok(changes) => Some(format!("{changes} changes of the leader in a minute, and nobody failed")),
        Err(why) => Some(why),
    }
}

/// Nodes so far from each other that a vote takes longer than a candidate of a near cluster waits for it, and their
/// leader fails.
pub(super) fn slow_votes() -> Option<String> {
    let mut world = three([120, 150], 0);
    let elected = world.run(Duration::from_secs(30)).and_then(|()| {
        if let Some((leader, _)) = leader_of(&world) {
            world.kill(leader);
        }
        world.run_until(Duration::from_secs(20), |world| leader_of(world).is_some())
    });
    match elected {
        Ok(Some(_)) => None,
        Ok(None) => Some("nobody is elected".into()),
        Err(violation) => Some(violation.property.to_owned()),
    }
}

/// The leader's number among the hosts, and its term.
fn leader_of(world: &World) -> Option<(usize, Term)> {
    world.running().into_iter().find_map(|at| {
        let look = world.hosts()[at].node()?.inspect();
        (look.role() == RaftRole::Leader).then(|| (at, look.term()))
    })
}

/// The lease was long and is short again; then one leader makes three voters five. It asked for promises of the long one.
pub(super) fn voters_after_a_long_lease() -> Option<String> {
    change_after_a_long_lease().unwrap_or_else(|violation| Some(violation.property.to_owned()))
}

fn change_after_a_long_lease() -> Result<Option<String>, Violation> {
    let mut world = three([60, 140], 0);
    world.run(Duration::from_secs(30))?;
    world.network.conditions = Conditions::default();
    let (mut reign, mut longest, mut present) = (None, Duration::ZERO, Duration::ZERO);
    for _ in 0..120 {
        world.run(Duration::from_secs(1))?;
        let Some(leader) = leader_of(&world) else { continue };
        if reign != Some(leader) {
            (reign, longest) = (Some(leader), Duration::ZERO);
        }
        present = world.status(leader.0).timing.map_or(present, |timing| timing.lease);
        longest = longest.max(present);
        if longest > present && present == SHORT {
            break;
        }
    }
    if present != SHORT || longest <= SHORT {
        return Ok(Some(format!("the lease does not come back: it was {longest:?} and is {present:?}")));
    }
    world.start(12);
    world.start(12);
    let joint = |world: &World| world.voters().0.len() == 5 && !world.voters().1.is_empty();
    let done = |world: &World| world.voters().0.len() == 5 && world.voters().1.is_empty();
    let limit = Duration::from_secs(10);
    if world.run_until(limit, joint)?.is_none() {
        return Ok(Some("five nodes never have five voters".into()));
    }
    let took = world.run_until(limit, done)?;
    let too_soon = leader_of(&world) == reign && took.is_some_and(|took| took < longest);
    Ok(too_soon.then(|| format!("new voters decide alone after {took:?}, and {longest:?} were promised")))
}

/// Leadership goes from hand to hand while the voters change.
pub(super) fn voters_after_an_election() -> Option<String> {
    (0..40)
        .find_map(|step| change_after_an_election(step).unwrap_or_else(|violation| Some(violation.property.to_owned())))
}

fn change_after_an_election(step: u64) -> Result<Option<String>, Violation> {
    let (mut world, limit) = (three([0, 1], 0), Duration::from_secs(10));
    let three = |world: &World| world.voters().0.len() == 3 && world.voters().1.is_empty();
    if world.run_until(limit, three)?.is_none() {
        return Ok(Some("three nodes never have three voters".into()));
    }
    world.start(12);
    world.start(12);
    // Newcomers vote after some time of good conduct: the next leader finds them about ready.
    world.run(Duration::from_millis(1_000 + 50 * step))?;
    let Some((former, term)) = leader_of(&world) else { return Ok(None) };
    if world.request(former, Request::StepDown).is_err() {
        return Ok(None);
    }
    let mut authority = world.now();
    let next = |world: &World| leader_of(world).is_some_and(|(at, now)| at != former && now > term);
    let found = world.run_until(limit, |world| {
        let host = &world.hosts()[former];
        let until = host.node().map(|node| host.clock.true_at(node.inspect().authority_until()));
        authority = authority.max(until.unwrap_or_default());
        next(world)
    })?;
    if found.is_none() {
        return Ok(Some("nobody follows a leader that steps down".into()));
    }
    let before = world.voters();
    world.run_until(limit, |world| world.voters() != before)?;
    let too_soon = world.voters() != before && world.now() < authority;
    Ok(too_soon
        .then(|| format!("voters change at {}, and the former leader has authority until {authority}", world.now())))
}
