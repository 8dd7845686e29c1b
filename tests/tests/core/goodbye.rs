//! A process that ends and says so, or is waited for by another, need not be missed first.

use std::time::Duration;

use funk_proto::DatagramSocket;
use funk_proto::limits::LEADER_STALL_MAX;
use funk_proto::status::Role;
use funk_sim::{World, check};
use funk_tests::cuts::with_role;
use funk_tests::world::{TestWorld, name, node};

const SHARDS: u32 = 60;

fn cluster(seed: u64, nodes: usize) -> TestWorld {
    settled(TestWorld::new(seed), nodes)
}

fn settled(mut world: TestWorld, nodes: usize) -> TestWorld {
    for _ in 0..nodes {
        world.start(SHARDS);
    }
    world.run_until(Duration::from_secs(20), World::converged).expect("the cluster settles");
    // Until the voters are chosen and every stream stands.
    world.run(Duration::from_secs(1));
    world
}

/// How long it takes until the survivors own what the victim had.
fn until_taken(world: &mut TestWorld, victim: usize) -> Duration {
    let name = name(victim);
    let taken = |world: &World| {
        let status = world.status(world.running()[0]);
        status.members.iter().all(|member| member.name != name.as_str() || member.shards == 0)
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
                world.end_with_words(victim, reaped);
                let took = until_taken(&mut world, victim);
                assert!(took < Duration::from_millis(20), "{nodes} nodes, {role:?}, reaped {reaped}: {took:?}");
            }
        }
    }
}

#[test]
fn a_leaders_goodbye_that_reaches_one_voter_alone_deposes_nobody_by_itself() {
    // That a live process is taken for ended is what the lie is for.
    let others = check::all().into_iter().filter(|checker| checker.name() != "endings").collect();
    let mut world = settled(World::new(5).with_checkers(others).into(), 3);
    let (leader, follower) = (with_role(&world, Role::Leader), with_role(&world, Role::Follower));
    let before = world.status(leader).term;
    // Only one of two hears that a live leader has ended, as a lie would have it.
    let to = World::address_of(0, follower, 3);
    let word = node(&world, leader).last_words().into_iter().find(|word| word.to == to).expect("they know each other");
    let from = World::address_of(0, leader, 3);
    world.inject_datagram(follower, DatagramSocket::Liveness, from, word.goodbye);
    world.run(Duration::from_millis(50));
    assert_eq!((world.status(leader).role, world.status(leader).term), (Role::Leader, before));
}

#[test]
fn the_next_boot_of_a_node_is_untouched_by_the_goodbye_of_the_former() {
    let mut world = cluster(7, 3);
    let victim = with_role(&world, Role::Follower);
    let words = node(&world, victim).last_words();
    world.end_with_words(victim, false);
    until_taken(&mut world, victim);
    world.restart(victim);
    world.run_until(Duration::from_secs(5), World::converged).expect("it is back");
    let epoch = world.status(victim).epoch;
    let from = World::address_of(0, victim, 3);
    for word in words {
        let to = world.host_at(word.to).expect("it has not moved");
        world.inject_datagram(to, DatagramSocket::Liveness, from, word.goodbye);
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
    world.propose(follower, "one write, which this disk never answers");
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
