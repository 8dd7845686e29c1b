//! A process that ends and says so, or is waited for by another, need not be missed first.

use std::time::Duration;

use funk_proto::Request;
use funk_proto::limits::LEADER_STALL_MAX;
use funk_proto::status::Role;
use funk_tests::harness::World;

const SHARDS: u32 = 60;

fn cluster(seed: u64, nodes: usize) -> World {
    let mut world = World::new(seed);
    for _ in 0..nodes {
        world.start(SHARDS);
    }
    world.run_until(Duration::from_secs(20), World::converged).expect("the cluster settles");
    // Until the voters are chosen and every stream stands.
    world.run(Duration::from_secs(1));
    world
}

fn with_role(world: &World, role: Role) -> usize {
    world.running().into_iter().find(|&at| world.status(at).role == role).expect("somebody has it")
}

/// How long it takes until the survivors own what the victim had.
fn until_taken(world: &mut World, victim: usize) -> Duration {
    let name = World::name(victim);
    let taken = |world: &World| {
        let status = world.status(world.running()[0]);
        status.members.iter().all(|member| member.name.as_str() != name || member.shards == 0)
    };
    let took = world.run_until(Duration::from_secs(5), |world| taken(world) && world.converged());
    took.expect("the shards are served again")
}

#[test]
fn shards_of_a_process_that_said_goodbye_or_was_reaped_are_taken_without_waiting_for_its_lease() {
    for nodes in [3, 5] {
        for role in [Role::Leader, Role::Follower] {
            for reaped in [false, true] {
                let mut world = cluster(3, nodes);
                let victim = with_role(&world, role);
                world.end_with_last_words(victim, reaped);
                let took = until_taken(&mut world, victim);
                assert!(took < Duration::from_millis(20), "{nodes} nodes, {role:?}, reaped {reaped}: {took:?}");
            }
        }
    }
}

#[test]
fn a_leaders_goodbye_that_reaches_one_voter_alone_deposes_nobody_by_itself() {
    let mut world = cluster(5, 3);
    let (leader, follower) = (with_role(&world, Role::Leader), with_role(&world, Role::Follower));
    let before = world.status(leader).term;
    // Only one of two hears that a live leader has ended, as a lie would have it.
    let to = World::address(follower, 3);
    let word = world.last_words(leader).into_iter().find(|word| word.to == to).expect("they know each other");
    world.send_word(leader, to, word.goodbye);
    world.run(Duration::from_millis(50));
    assert_eq!((world.status(leader).role, world.status(leader).term), (Role::Leader, before));
}

#[test]
fn the_next_boot_of_a_node_is_untouched_by_the_goodbye_of_the_former() {
    let mut world = cluster(7, 3);
    let victim = with_role(&world, Role::Follower);
    let words = world.last_words(victim);
    world.end_with_last_words(victim, false);
    until_taken(&mut world, victim);
    world.restart(victim);
    world.run_until(Duration::from_secs(5), World::converged).expect("it is back");
    let epoch = world.status(victim).epoch;
    for word in words {
        world.send_word(victim, word.to, word.goodbye);
    }
    world.run(Duration::from_secs(1));
    assert!(world.converged());
    assert_eq!(world.status(victim).epoch, epoch, "nothing moved");
}

#[test]
fn a_leader_whose_disk_hangs_makes_way_for_another_and_no_shard_pauses() {
    let mut world = cluster(11, 3);
    let leader = with_role(&world, Role::Leader);
    let follower = with_role(&world, Role::Follower);
    let epoch = world.status(leader).epoch;
    world.hang_disk(leader);
    world.request(follower, Request::Propose("one write, which this disk never answers".into()));
    let leads_elsewhere = |world: &World| {
        let leads = |&at: &usize| at != leader && world.status(at).role == Role::Leader;
        world.running().iter().any(leads) && world.status(leader).role != Role::Leader
    };
    let took = world.run_until(Duration::from_secs(10), leads_elsewhere).expect("another leads");
    assert!(took < LEADER_STALL_MAX * 2, "{took:?}");
    world.run(Duration::from_secs(2));
    assert!(leads_elsewhere(&world), "it does not come back");
    let again = world.status(follower).epoch;
    assert_eq!(again, epoch, "no shard moved");
}
