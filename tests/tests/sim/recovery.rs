//! Clusters in the simulator that lose their majority for good and go on from a
//! survivor, with every checker at every step.

use std::time::Duration;

use funk_proto::Request;
use funk_proto::id::{Epoch, ShardId};
use funk_proto::limits::GENERATION_INDEXES;
use funk_proto::shards::Place;
use funk_sim::World;
use funk_tests::cuts::{SHARDS, cluster};

const NODES: usize = 5;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn serves_all(world: &World, at: usize) -> bool {
    let status = world.status(at);
    let all = status.shards_owned == SHARDS && status.leader.as_ref() == Some(&status.name);
    all && (0..SHARDS).all(|shard| world.right(at, ShardId(shard)).is_some())
}

fn lowest_epoch(world: &World, at: usize) -> Epoch {
    let node = world.hosts()[at].node().expect("it runs");
    let routes = node.routes();
    let epoch = |shard| match routes.place(ShardId(shard)) {
        Place::Here(epoch) => epoch,
        other => panic!("shard {shard}: {other:?}"),
    };
    (0..SHARDS).map(epoch).min().expect("there are shards")
}

/// The hosts that are lost for good: any three of five, by the seed.
fn lost(seed: u64) -> Vec<usize> {
    let first = usize::try_from(seed).expect("few seeds") % NODES;
    (0..3).map(|step| (first + step * (1 + first % 2)) % NODES).collect()
}

#[test]
fn whoever_survives_goes_on_and_no_property_is_broken() {
    for seed in 0..20 {
        let broken = |why| panic!("seed {seed}: {why:?}");
        let mut world = cluster(seed, NODES).unwrap_or_else(broken);
        // Some are drained, stopped or restarted before it happens: shards are on their way, epochs differ.
        let victims = lost(seed);
        let survivor = (0..NODES).find(|at| !victims.contains(at)).expect("three of five are lost");
        world.pause(victims[0]);
        world.run(Duration::from_millis(40 * seed)).expect("no property is broken");
        world.resume(victims[0]);
        world.run(Duration::from_millis(3 * seed)).expect("no property is broken");
        victims.iter().for_each(|&at| world.power_off(at));
        let unled = world.run_until(secs(5), |world| world.status(survivor).leader.is_none());
        assert!(unled.expect("no property is broken").is_some(), "seed {seed}");
        world.request(survivor, Request::Recover).expect("it is taken");
        let served = world.run_until(secs(10), |world| serves_all(world, survivor)).expect("no property is broken");
        assert!(served.is_some(), "seed {seed}: {:?}", world.status(survivor));
        assert!(lowest_epoch(&world, survivor) > Epoch(GENERATION_INDEXES), "seed {seed}");
        // Those that were lost come back with empty disks, and what survived is started anew.
        let others: Vec<usize> = (0..NODES).filter(|&at| at != survivor).collect();
        for &at in &others {
            if world.running().contains(&at) {
                world.kill(at);
            }
            world.host_mut(at).disk.replace();
            world.restart(at);
        }
        let all = world.run_until(secs(30), World::converged).expect("no property is broken");
        assert!(all.is_some(), "seed {seed}: {:?}", world.status(survivor));
        assert!(world.running().iter().all(|&at| world.status(at).generation == 2), "seed {seed}");
        world.run(secs(5)).expect("no property is broken");
    }
}
