//! Random faults, then peace: every property holds at every step, and the healed
//! cluster agrees on one map.

use std::time::Duration;

use funk_proto::Request;
use funk_proto::rng::{Rng, Seed, Stream};
use funk_sim::World;
use funk_tests::world::TestWorld;

fn draw(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("below a usize")
}

/// One storm of `rounds` faults over three to seven nodes.
fn storm(seed: u64, rounds: u64) {
    let mut rng = Rng::new(Seed::from_u64(seed), Stream::Gossip);
    let mut world = TestWorld::new(seed);
    let nodes = 3 + draw(&mut rng, 5);
    for _ in 0..nodes {
        world.start(40);
    }
    world.run_until(Duration::from_secs(10), World::converged).unwrap_or_else(|| panic!("seed {seed}: no start"));
    // The voters are chosen a little after the map.
    world.run(Duration::from_secs(1));
    let faults_max = if nodes < 5 { 1 } else { 2 };
    world.lose(rng.below(6));
    let (mut paused, mut killed, mut cut) = (Vec::new(), Vec::new(), false);
    for _ in 0..rounds {
        let running = world.running();
        let pick = running[draw(&mut rng, running.len())];
        // A majority of the voters stays whole: what is lost beyond that is another test's matter.
        let faults = paused.len() + killed.len() + usize::from(cut);
        let spare = faults < faults_max && world.is_spare(pick);
        match rng.below(8) {
            0 if spare => {
                world.kill(pick);
                killed.push(pick);
            }
            1 | 2 if spare => {
                world.pause(pick);
                paused.push(pick);
            }
            3 if spare => {
                world.isolate(pick);
                cut = true;
            }
            4 => {
                world.mend_all();
                cut = false;
            }
            5 | 6 => paused.drain(..).for_each(|at| world.resume(at)),
            _ => killed.drain(..).for_each(|at| world.restart(at)),
        }
        world.run(rng.between(Duration::from_millis(1), Duration::from_millis(700)));
    }
    world.mend_all();
    world.lose(0);
    paused.drain(..).for_each(|at| world.resume(at));
    if world.run_until(Duration::from_secs(20), World::converged).is_none() {
        for at in world.running() {
            let status = world.status(at);
            eprintln!(
                "{at}: {:?} {:?} {:?} {:?} {:?}",
                status.state, status.role, status.term, status.leader, status.counters
            );
            let events = world.events(at);
            eprintln!("    {:?}", &events[events.len().saturating_sub(6)..]);
            for member in status.members {
                eprintln!("    {:?} {:?} {:?} {}", member.name, member.boot, member.raft, member.shards);
            }
        }
        panic!("seed {seed}: not healed");
    }
    let leaver = world.running()[0];
    world.request(leaver, Request::Leave);
    world.run(Duration::from_secs(1));
}

#[test]
fn storms_end_in_one_map_and_never_serve_twice() {
    let (first, count) = match std::env::var("FUNK_STORMS") {
        Ok(range) => {
            let (first, count) = range.split_once('+').expect("FUNK_STORMS=FIRST+COUNT");
            (first.parse().unwrap(), count.parse().unwrap())
        }
        Err(_) => (0, 20),
    };
    for seed in first..first + count {
        storm(seed, 30);
    }
}
