//! Whole clusters: start, join, kill, stop, leave. Every property is checked at every step.

use std::time::Duration;

use bytes::Bytes;
use funk_proto::status::{NodeState, Role};
use funk_proto::{Event, Request, Timing};
use funk_sim::World;
use funk_tests::world::{TestWorld, committed, follower, leader, report, voters};

const SHARDS: u32 = 60;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn cluster(seed: u64, nodes: usize) -> TestWorld {
    let mut world = TestWorld::new(seed);
    for _ in 0..nodes {
        world.start(SHARDS);
    }
    world
        .run_until(secs(20), |world| world.converged() && voters(world, 0) == odd(nodes))
        .unwrap_or_else(|| report(&world));
    world
}

fn odd(nodes: usize) -> usize {
    (nodes - (nodes + 1) % 2).min(5)
}

#[test]
fn one_node_serves_alone() {
    let world = cluster(1, 1);
    assert_eq!(world.status(0).shards_owned, SHARDS);
    assert!(world.now().as_nanos() < 200_000_000, "{}", world.now());
}

#[test]
fn nodes_join_and_share_the_shards() {
    for (seed, nodes) in [(1, 2), (2, 3), (3, 5), (4, 7)] {
        let world = cluster(seed, nodes);
        assert!(world.now().as_nanos() < 2_000_000_000, "{nodes} nodes took {}", world.now());
    }
}

#[test]
fn survivors_take_over_when_a_node_is_killed_or_stopped() {
    for nodes in [3, 5] {
        for (stop, of_leader) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut world = cluster(7, nodes);
            world.run(secs(1));
            let victim = if of_leader { leader(&world) } else { follower(&world) };
            let name = world.status(victim).name;
            if stop {
                world.pause(victim)
            } else {
                world.kill(victim)
            }
            let gone = |world: &World| {
                let status = world.status(world.running()[0]);
                status.members.iter().all(|member| member.name != name.as_str() || member.shards == 0)
            };
            let took = world.run_until(secs(5), |world| gone(world) && world.converged());
            let took = took.unwrap_or_else(|| report(&world));
            assert!(took < Duration::from_millis(250), "{nodes} nodes, stop {stop}, leader {of_leader}: {took:?}");
            let epoch = world.status(world.running()[0]).epoch;
            world.run(secs(15));
            assert_eq!(world.status(world.running()[0]).epoch, epoch, "the epoch stays");
            if stop {
                world.resume(victim);
                assert!(world.status(victim).state != NodeState::Operational || world.status(victim).shards_owned == 0);
            } else {
                world.restart(victim);
            }
            let back = world.run_until(secs(10), |world| world.running().len() == nodes && world.converged());
            back.unwrap_or_else(|| report(&world));
        }
    }
}

#[test]
fn a_leaving_node_drains_and_is_gone() {
    for nodes in [2, 3, 5] {
        for of_leader in [false, true] {
            let mut world = cluster(11, nodes);
            let leaver = if of_leader {
                leader(&world)
            } else {
                world.running().into_iter().find(|&at| at != leader(&world)).unwrap()
            };
            world.request(leaver, Request::Leave);
            let left = world.run_until(secs(3), |world| world.events(leaver).contains(&Event::Left));
            left.unwrap_or_else(|| report(&world));
            world.kill(leaver);
            let settled = world.run_until(secs(3), |world| world.converged());
            settled.unwrap_or_else(|| report(&world));
        }
    }
}

#[test]
fn all_may_leave_at_once() {
    for nodes in [1, 3, 5] {
        let mut world = cluster(13, nodes);
        for at in world.running() {
            world.request(at, Request::Leave);
        }
        let all = world.running();
        let left = world.run_until(secs(3), |world| all.iter().all(|&at| world.events(at).contains(&Event::Left)));
        left.unwrap_or_else(|| report(&world));
    }
}

#[test]
fn ten_nodes_that_start_at_once_agree_on_one_map() {
    for seed in 0..5 {
        let mut world = TestWorld::new(seed);
        for _ in 0..11 {
            world.start(SHARDS);
        }
        let took = world.run_until(secs(10), World::converged).unwrap_or_else(|| report(&world));
        assert!(took < secs(3), "{took:?}");
    }
}

#[test]
fn proposals_from_any_node_reach_all_in_one_order() {
    let mut world = cluster(17, 3);
    for n in 0..30u8 {
        world.propose(usize::from(n) % 3, Bytes::from(vec![n]));
        world.run(Duration::from_millis(1));
    }
    world.run(secs(1));
    let first = committed(&world, 0, 0);
    assert_eq!(first.len(), 30);
    assert_eq!(first, committed(&world, 1, 0));
    assert_eq!(first, committed(&world, 2, 0));
}

#[test]
fn lost_datagrams_cost_no_shard() {
    let mut world = cluster(19, 5);
    world.lose(5);
    let epoch = world.status(0).epoch;
    world.run(secs(60));
    assert!(world.converged());
    assert_eq!(world.status(0).epoch, epoch, "no member was given up");
}

#[test]
fn a_cut_off_leader_serves_nothing_and_comes_back() {
    let mut world = cluster(23, 3);
    // A voter change that is under way still needs the former voters.
    world.run(secs(1));
    let old = leader(&world);
    world.isolate(old);
    world.run(secs(2));
    assert_eq!(world.running().into_iter().filter(|&at| at != old && world.status(at).role == Role::Leader).count(), 1);
    assert_ne!(world.status(old).state, NodeState::Operational);
    world.mend_all();
    world.run_until(secs(5), World::converged).unwrap_or_else(|| report(&world));
}

#[test]
fn the_old_voters_count_until_every_promise_before_them_has_run_out() {
    let mut world = TestWorld::new(29);
    for _ in 0..3 {
        world.start(SHARDS);
    }
    let promise = Timing::default().waiter(Timing::default().lease);
    let took = world.run_until(secs(5), |world| voters(world, 0) == 3).unwrap_or_else(|| report(&world));
    // One promise from the joint configuration until it is left; nobody promised anything before the first election.
    assert!(took >= promise, "{took:?}");
}

#[test]
fn a_voter_that_was_declared_dead_and_then_elected_takes_itself_in() {
    for seed in 0..20 {
        let mut world = cluster(seed, 3);
        world.run(secs(1));
        let (first, last) = (leader(&world), follower(&world));
        world.pause(last);
        world.run(Duration::from_millis(400));
        world.resume(last);
        world.kill(first);
        world.run_until(secs(5), World::converged).unwrap_or_else(|| report(&world));
    }
}
