//! Three nodes on a quiet network that becomes slow and uneven, and bad lines on top.

use std::time::Duration;

use bytes::Bytes;
use funk_proto::status::Role;
use funk_sim::network::Conditions;
use funk_sim::{Violation, World};

/// Shards of the cluster.
const SHARDS: u32 = 12;
/// Until then the cluster forms, on a quiet network.
const FORMED: Duration = Duration::from_secs(10);
/// Then the network is slow, and the lease gets to fit.
const SETTLE: Duration = Duration::from_secs(15);

/// How a node is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Its process ends, and a process that waited for that says so.
    Reaped,
    /// Its process ends.
    Killed,
    /// Nothing gets through to it or from it.
    Cut,
}

/// A network on which a packet takes 60 to 140 ms.
pub fn slow(loss: u32) -> Conditions {
    let (delay_min, delay_max) = (Duration::from_millis(60), Duration::from_millis(140));
    Conditions { delay_min, delay_max, loss, ..Conditions::default() }
}

/// Three nodes that formed a cluster before their network became like this, `settle` ago.
///
/// # Errors
/// A property that is broken.
pub fn three(seed: u64, conditions: Conditions, settle: Duration) -> Result<World, Violation> {
    let mut world = World::new(seed);
    for _ in 0..3 {
        world.start(SHARDS);
    }
    world.run(FORMED)?;
    world.network.conditions = conditions;
    world.run(settle)?;
    Ok(world)
}

/// Changes of the leader, as all nodes count them, within so long.
///
/// # Errors
/// A property that is broken.
pub fn changes(world: &mut World, length: Duration) -> Result<u64, Violation> {
    let before = world.tally.leader_changes;
    world.run(length)?;
    Ok(world.tally.leader_changes - before)
}

/// The leader is lost: time until the others serve all shards; `None` if they do not within ten seconds, or nobody led.
///
/// # Errors
/// A property that is broken.
///
pub fn dark(world: &mut World, loss: Loss) -> Result<Option<Duration>, Violation> {
    let leads = |&at: &usize| world.status(at).role == Role::Leader;
    let Some(leader) = world.running().into_iter().find(leads) else { return Ok(None) };
    // What it replicates is on its way when it is lost.
    for entry in 0..4 {
        let _ = world.propose_through(leader, &Bytes::from(format!("entry {entry}")));
        world.run(Duration::from_millis(20))?;
    }
    let since = world.now();
    match loss {
        Loss::Reaped => world.end_with_words(leader, true),
        Loss::Killed => world.kill(leader),
        Loss::Cut => world.isolate(leader),
    }
    let served = |world: &World| {
        let others: Vec<usize> = (0..world.hosts().len()).filter(|&at| at != leader).collect();
        let shown = |at: usize| world.hosts()[at].shown_here().iter().map(|word| word.count_ones()).sum::<u32>();
        let holds = |&&at: &&usize| world.hosts()[at].lease_ends() > world.now();
        others.iter().filter(holds).map(|&at| shown(at)).sum::<u32>() == SHARDS
    };
    let ended = world.run_until(Duration::from_secs(10), served)?;
    Ok(ended.map(|_| world.now().since(since)))
}

/// Leaders are lost in this way on a slow network, one for each seed: says which of them were missed for longer than that.
pub fn lost_leaders(how: Loss, seeds: std::ops::RangeInclusive<u64>, longest: Duration) -> Option<String> {
    for seed in seeds {
        let lost = three(seed, slow(0), SETTLE).and_then(|mut world| dark(&mut world, how));
        match lost {
            Ok(Some(time)) if time <= longest => {}
            Ok(time) => {
                return Some(format!("seed {seed}: the shards of a leader that is {how:?} are dark for {time:?}"));
            }
            Err(violation) => return Some(violation.property.to_owned()),
        }
    }
    None
}

/// A node is started with `--bootstrap` and the address of a cluster that is far away: says so if it begins another.
pub fn second_bootstrap() -> Option<String> {
    let second = || {
        let mut world = three(1, slow(0), SETTLE)?;
        // An answer comes after more than the time that a bootstrap looks round for.
        world.network.conditions.delay_min = Duration::from_millis(160);
        world.network.conditions.delay_max = Duration::from_millis(180);
        let at = world.start_with(|config| config.bootstrap = true);
        world.run(Duration::from_secs(3))?;
        Ok::<bool, Violation>(world.hosts()[at].is_refused())
    };
    match second() {
        Ok(true) => None,
        Ok(false) => Some("a bootstrap beside a cluster that is far away is not refused".into()),
        Err(violation) => Some(violation.property.to_owned()),
    }
}
