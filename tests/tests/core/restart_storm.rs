//! Random crashes of any number of nodes with data directories, then peace: no
//! shard ever has two servers (checked at every step), the cluster is the one
//! that it was, and nothing that any node saw committed is missing.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use funk_proto::rng::{Rng, Seed, Stream};
use funk_proto::{Event, Request};
use funk_tests::harness::World;

fn draw(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("below a usize")
}

fn committed(world: &World, at: usize, since: usize) -> Vec<Bytes> {
    let bytes = |event: &Event| match event {
        Event::Committed { bytes, .. } => Some(bytes.clone()),
        _ => None,
    };
    world.events(at)[since..].iter().filter_map(bytes).collect()
}

fn heal(world: &mut World, seed: u64) {
    if world.run_until(Duration::from_secs(20), World::converged).is_none() {
        for at in world.running() {
            let s = world.status(at);
            eprintln!("{at}: {:?} {:?} {:?} {:?} {:?}", s.state, s.role, s.term, s.leader, s.members);
        }
        panic!("seed {seed}: not healed");
    }
}

fn storm(seed: u64, rounds: u64) {
    let mut rng = Rng::new(Seed::from_u64(seed), Stream::Gossip);
    let mut world = World::new(seed);
    let nodes = 1 + draw(&mut rng, 5);
    for _ in 0..nodes {
        world.start_with(|config| (config.shards, config.durable) = (12, true));
    }
    heal(&mut world, seed);
    let cluster = world.status(0).cluster;
    world.loss = rng.below(6);
    let mut killed = BTreeSet::new();
    for round in 0..rounds {
        for at in world.running() {
            world.try_request(at, Request::Propose(format!("{round} at {at}").into()));
        }
        let pick = draw(&mut rng, nodes);
        match rng.below(6) {
            0 | 1 if killed.insert(pick) => world.kill(pick),
            2 => {
                (0..nodes).filter(|at| killed.insert(*at)).collect::<Vec<_>>().into_iter().for_each(|at| world.kill(at))
            }
            3 => world.cut = (0..nodes).filter(|&at| at != pick).map(|at| (at.min(pick), at.max(pick))).collect(),
            4 => world.cut.clear(),
            _ => std::mem::take(&mut killed).into_iter().for_each(|at| world.resume_from_disk(at)),
        }
        world.run(rng.between(Duration::from_micros(100), Duration::from_millis(500)));
    }
    world.cut.clear();
    world.loss = 0;
    killed.into_iter().for_each(|at| world.resume_from_disk(at));
    heal(&mut world, seed);
    check_kept(&mut world, nodes, seed);
    assert_eq!(world.status(0).cluster, cluster);
}

/// Restarts everything once more and compares what each log holds with what was seen.
fn check_kept(world: &mut World, nodes: usize, seed: u64) {
    let seen: BTreeSet<Bytes> = (0..nodes).flat_map(|at| committed(world, at, 0)).collect();
    let events: Vec<usize> = (0..nodes).map(|at| world.events(at).len()).collect();
    (0..nodes).for_each(|at| world.kill(at));
    (0..nodes).for_each(|at| world.resume_from_disk(at));
    heal(world, seed);
    let logs: Vec<Vec<Bytes>> = (0..nodes).map(|at| committed(world, at, events[at])).collect();
    let (kept, last): (BTreeSet<Bytes>, _) = (logs[0].iter().cloned().collect(), &logs[0]);
    assert!(kept.is_superset(&seen), "seed {seed}: {:?} are lost", seen.difference(&kept));
    for log in &logs {
        // A node that was taken in by a snapshot has seen only what came after it.
        assert!(last.ends_with(log) || log.ends_with(last), "seed {seed}: logs differ");
    }
}

#[test]
fn crashes_of_any_number_of_nodes_lose_nothing() {
    let (first, count) = match std::env::var("FUNK_STORMS") {
        Ok(range) => {
            let (first, count) = range.split_once('+').expect("FUNK_STORMS=FIRST+COUNT");
            (first.parse().unwrap(), count.parse().unwrap())
        }
        Err(_) => (0, 12),
    };
    for seed in first..first + count {
        storm(seed, 25);
    }
}
