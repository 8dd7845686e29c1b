//! Simulated clusters of which one node is cut off, one way or both, and how long that is felt.

use std::time::Duration;

use funk_proto::id::ShardId;
use funk_proto::status::Role;
use funk_sim::{Violation, World};

/// Shards of such a cluster.
pub const SHARDS: u32 = 24;
/// Between two looks at every host.
pub const STEP: Duration = Duration::from_micros(500);

/// Which way nothing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing reaches the node.
    In,
    /// Nothing leaves it.
    Out,
    /// Neither.
    Both,
}

/// The longest times without service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pauses {
    /// Of any shard that another host than the victim had.
    pub others: Duration,
    /// Of any shard.
    pub all: Duration,
}

/// A cluster that has settled, at no special point of its heartbeat.
///
/// # Errors
/// A property that is broken.
///
/// # Panics
/// If it does not settle.
pub fn cluster(seed: u64, nodes: usize) -> Result<World, Violation> {
    form(World::new(seed), seed, nodes)
}

/// The same in a world of the caller's, as yet without hosts.
///
/// # Errors
/// A property that is broken.
///
/// # Panics
/// If it does not settle.
pub fn form(mut world: World, seed: u64, nodes: usize) -> Result<World, Violation> {
    for _ in 0..nodes {
        world.start(SHARDS);
    }
    world.run_until(Duration::from_secs(20), World::converged)?.expect("it settles");
    // Until the voters are chosen and every stream stands.
    world.run(Duration::from_millis(1_000 + seed * 7))?;
    Ok(world)
}

/// A follower is killed, found dead and started again with its data directory;
/// then it stands still for longer than a process that was found dead may, and
/// for less than silence must last. Says what is wrong with that.
///
/// # Errors
/// A property that is broken.
///
/// # Panics
/// If the process comes back as another node.
pub fn boot_after_evidence(seed: u64) -> Result<Option<&'static str>, Violation> {
    let second = Duration::from_secs(1);
    let mut world = form(World::new(seed).with_durable_disks(), seed, 3)?;
    let victim = with_role(&world, Role::Follower);
    let of = |world: &World| world.hosts()[victim].facts().map(|facts| (facts.id, facts.boot));
    let Some((id, former)) = of(&world) else { return Ok(Some("it does not run")) };
    world.kill(victim);
    if world.run_until(second, |world| !world.holds_for_up(id, former))?.is_none() {
        return Ok(Some("a process that has ended is not found dead"));
    }
    world.restart(victim);
    if world.run_until(12 * second, World::converged)?.is_none() {
        return Ok(Some("it does not come back"));
    }
    let Some((again, boot)) = of(&world) else { return Ok(Some("it does not run")) };
    world.pause(victim);
    let dead = world.run_until(second / 11, |world| !world.holds_for_up(again, boot))?;
    assert_eq!(again, id, "its data directory keeps its id");
    Ok(dead.map(|_| "a process is dead for what was found of its former boot"))
}

/// A machine of this role stands still, and its clock with it, until others have
/// its shards. Says what is wrong with what it does when it goes on.
///
/// # Errors
/// A property that is broken.
pub fn clock_stands_still(seed: u64, role: Role) -> Result<Option<&'static str>, Violation> {
    let mut world = cluster(seed, 3)?;
    let victim = with_role(&world, role);
    let had = shards_of(&world, victim);
    world.freeze(victim);
    world.run(Duration::from_millis(400))?;
    world.resume(victim);
    let serves = |shard| world.hosts()[victim].right(world.now(), ShardId(shard)).is_some();
    let serves_on = (0..SHARDS).any(|shard| had[shard as usize] && serves(shard));
    if world.run_until(Duration::from_secs(12), World::converged)?.is_none() {
        return Ok(Some("it does not come back"));
    }
    Ok(serves_on.then_some("a machine whose clock stood still serves what is others' by now"))
}

/// A running host of this role.
///
/// # Panics
/// If there is none.
pub fn with_role(world: &World, role: Role) -> usize {
    world.running().into_iter().find(|&at| world.status(at).role == role).expect("somebody has it")
}

/// Cuts a host off from all others.
pub fn cut(world: &mut World, victim: usize, which: Cut) {
    for other in (0..world.hosts().len()).filter(|&other| other != victim) {
        if which != Cut::Out {
            world.network.cut(other, victim);
        }
        if which != Cut::In {
            world.network.cut(victim, other);
        }
    }
}

/// Datagrams between the leader and one follower are lost, one way, and streams are not: how many entries are committed
/// in 20 seconds of it. The cluster is whole again afterwards.
///
/// # Errors
/// A property that is broken.
///
/// # Panics
/// If the cluster does not become whole again.
pub fn entries_while_datagrams_are_lost(seed: u64, which: Cut) -> Result<u64, Violation> {
    let mut world = cluster(seed, 3)?;
    let (leader, follower) = (with_role(&world, Role::Leader), with_role(&world, Role::Follower));
    let (from, to) = if which == Cut::In { (leader, follower) } else { (follower, leader) };
    let before = world.status(leader).commit_index.0;
    world.network.link_mut(from, to).datagram_cuts += 1;
    world.run(Duration::from_secs(20))?;
    let after = world.running().into_iter().map(|at| world.status(at).commit_index.0).max();
    world.network.link_mut(from, to).datagram_cuts -= 1;
    world.run_until(Duration::from_secs(12), World::converged)?.expect("it becomes whole again");
    Ok(after.unwrap_or(before) - before)
}

/// A node has been alone for a while; two others come and end a second later. Says what is wrong with what is left.
///
/// # Errors
/// A property that is broken.
pub fn newcomers_end(seed: u64) -> Result<Option<&'static str>, Violation> {
    let mut world = cluster(seed, 1)?;
    world.run(Duration::from_secs(12))?;
    let newcomers = [world.start(SHARDS), world.start(SHARDS)];
    if world.run_until(Duration::from_secs(5), World::converged)?.is_none() {
        return Ok(Some("newcomers are not let in"));
    }
    world.run(Duration::from_secs(1))?;
    newcomers.into_iter().for_each(|at| world.power_off(at));
    world.run(Duration::from_secs(3))?;
    let serves = world.status(0).role == Role::Leader && world.status(0).shards_owned == SHARDS;
    Ok((!serves).then_some("newcomers that ended took the majority along"))
}

/// Which shards a host has, one after the other.
pub fn shards_of(world: &World, at: usize) -> Vec<bool> {
    (0..SHARDS).map(|shard| world.hosts()[at].shows_here(ShardId(shard))).collect()
}

/// Lets time pass and watches each shard. `victims` says which the victim had.
///
/// # Errors
/// A property that is broken.
pub fn watch(world: &mut World, victims: &[bool], length: Duration) -> Result<Pauses, Violation> {
    let shards: Vec<ShardId> = (0..SHARDS).map(ShardId).collect();
    let end = world.now() + length;
    let mut served = vec![world.now(); shards.len()];
    let mut pauses = Pauses::default();
    while world.now() < end {
        world.run(STEP)?;
        let now = world.now();
        for ((&shard, last), &victims) in shards.iter().zip(&mut served).zip(victims) {
            if world.hosts().iter().any(|host| host.runs() && host.right(now, shard).is_some()) {
                *last = now;
            }
            let pause = now - *last;
            pauses.all = pauses.all.max(pause);
            if !victims {
                pauses.others = pauses.others.max(pause);
            }
        }
    }
    Ok(pauses)
}
