//! Worker ids: small, unique among the living, and not another's too soon.

use std::collections::BTreeSet;
use std::time::Duration;

use funk_proto::id::WorkerId;
use funk_proto::limits::WORKER_ID_GUARD;
use funk_sim::World;
use funk_tests::world::{TestWorld, name, node};

fn cluster(seed: u64, nodes: usize, durable: bool) -> TestWorld {
    let mut world = if durable { TestWorld::durable(seed) } else { TestWorld::new(seed) };
    for _ in 0..nodes {
        world.start(30);
    }
    world.run_until(Duration::from_secs(20), World::converged).expect("it converges");
    world
}

fn worker(world: &World, at: usize) -> WorkerId {
    let status = world.status(at);
    assert_eq!(node(world, at).routes().worker(), status.worker_id, "what is published is what is shown");
    status.worker_id.expect("a member has one")
}

#[test]
fn members_have_the_smallest_numbers_and_each_another() {
    let world = cluster(1, 5, false);
    let ids: BTreeSet<_> = (0..5).map(|at| worker(&world, at)).collect();
    assert_eq!(ids, (0..5).map(WorkerId).collect());
}

#[test]
fn a_number_is_given_again_only_after_the_guard_time_and_then_it_is() {
    for durable in [false, true] {
        let mut world = cluster(2, 3, durable);
        world.run(Duration::from_secs(1));
        let before = worker(&world, 2);
        world.kill(2);
        let killed = world.now();
        world.restart(2);
        world.run_until(WORKER_ID_GUARD / 2, World::converged).expect("it is back soon");
        let second = worker(&world, 2);
        assert_eq!(second, WorkerId(3), "its former number is not free yet");
        assert!(world.now() < killed + WORKER_ID_GUARD);
        world.run(WORKER_ID_GUARD * 2);
        assert_eq!(worker(&world, 2), second, "a boot keeps its number");
        let newcomer = world.start(30);
        world.run_until(Duration::from_secs(10), World::converged).expect("it converges");
        assert_eq!(worker(&world, newcomer), before, "it is free again");
    }
}

#[test]
fn a_number_that_waits_is_freed_by_the_next_leader_too() {
    let mut world = cluster(3, 3, true);
    let first = (0..3).find(|&at| world.status(at).leader.is_some_and(|leader| leader == name(at)));
    let (first, other) = (first.expect("it is known"), usize::from(first == Some(0)));
    let free = [worker(&world, other), worker(&world, first)];
    for at in [other, first] {
        world.kill(at);
        world.restart(at);
    }
    world.run_until(Duration::from_secs(10), World::converged).expect("it converges");
    world.run(WORKER_ID_GUARD * 2);
    let newcomers = [world.start(30), world.start(30)];
    world.run_until(Duration::from_secs(10), World::converged).expect("it converges");
    let given: BTreeSet<_> = newcomers.into_iter().map(|at| worker(&world, at)).collect();
    assert_eq!(given, free.into());
}
