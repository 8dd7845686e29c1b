//! Random crashes of any number of nodes with data directories, then peace: every
//! property holds at every step, the cluster is the one that it was, and nothing
//! that any node saw committed is missing.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use funk_proto::rng::{Rng, Seed, Stream};
use funk_sim::World;
use funk_tests::world::{TestWorld, committed};

fn draw(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("below a usize")
}

fn heal(world: &mut TestWorld, seed: u64) {
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
    let mut world = TestWorld::durable(seed);
    let nodes = 1 + draw(&mut rng, 5);
    for _ in 0..nodes {
        world.start(12);
    }
    heal(&mut world, seed);
    let cluster = world.status(0).cluster;
    world.lose(rng.below(6));
    let mut killed = BTreeSet::new();
    for round in 0..rounds {
        for at in world.running() {
            // One that does not take it is not in the cluster yet.
            let _ = world.propose_through(at, &format!("{round} at {at}").into());
        }
        let pick = draw(&mut rng, nodes);
        match rng.below(6) {
            0 | 1 if killed.insert(pick) => world.kill(pick),
            2 => {
                (0..nodes).filter(|at| killed.insert(*at)).collect::<Vec<_>>().into_iter().for_each(|at| world.kill(at))
            }
            3 => {
                world.mend_all();
                world.isolate(pick);
            }
            4 => world.mend_all(),
            _ => std::mem::take(&mut killed).into_iter().for_each(|at| world.resume_from_disk(at)),
        }
        world.run(rng.between(Duration::from_micros(100), Duration::from_millis(500)));
    }
    world.mend_all();
    world.lose(0);
    killed.into_iter().for_each(|at| world.resume_from_disk(at));
    heal(&mut world, seed);
    check_kept(&mut world, nodes, seed);
    assert_eq!(world.status(0).cluster, cluster);
}

/// Restarts everything once more and compares what each log holds with what was seen.
fn check_kept(world: &mut TestWorld, nodes: usize, seed: u64) {
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
