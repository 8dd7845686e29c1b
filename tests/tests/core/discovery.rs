//! How nodes that discovery finds come together, and when they must not: on
//! virtual time, with discovery's findings handed in as join requests.

use std::time::Duration;

use funk_proto::error::Refusal;
use funk_proto::id::ClusterId;
use funk_proto::wire::cluster::{Frame, FrameBody, Place};
use funk_proto::{Event, Output, Request};
use funk_sim::{Said, World};
use funk_tests::world::{TestWorld, leader};

const SHARDS: u32 = 12;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A node that is told of others only later.
fn start(world: &mut TestWorld, bootstrap: bool) -> usize {
    world.start_with(|config| {
        (config.shards, config.bootstrap, config.discovery) = (SHARDS, bootstrap, true);
        config.join.clear();
    })
}

/// Discovery on host `at` finds these hosts.
fn find(world: &mut TestWorld, at: usize, others: &[usize]) {
    let addresses = others.iter().map(|&other| World::address_of(0, other, 1)).collect();
    world.request(at, Request::Join(addresses));
}

fn refusal(world: &World, at: usize) -> Option<&Refusal> {
    world.events(at).iter().find_map(|event| match event {
        Event::Refused(refusal) => Some(refusal),
        _ => None,
    })
}

fn twin(world: &World, at: usize) -> Option<(ClusterId, String)> {
    world.events(at).iter().find_map(|event| match event {
        Event::TwinCluster { ours, theirs, .. } => Some((*ours, theirs.clone())),
        _ => None,
    })
}

#[test]
fn a_bootstrap_that_finds_its_cluster_is_refused_and_was_never_seen() {
    let mut world = TestWorld::new(1);
    start(&mut world, true);
    world.run_until(secs(5), |world| world.converged()).expect("it starts");
    let rival = start(&mut world, true);
    find(&mut world, rival, &[0]);
    world.run_until(Duration::from_millis(290), |world| refusal(world, rival).is_some()).expect("it is refused");
    assert!(matches!(refusal(&world, rival), Some(Refusal::ClusterExists { node, .. }) if node == "n0"));
    assert!(world.status(0).members.iter().all(|member| member.name.as_str() != "n1"), "it only looked");
}

#[test]
fn a_bootstrap_takes_no_waiting_node_for_a_cluster() {
    let mut world = TestWorld::new(2);
    start(&mut world, false);
    let second = start(&mut world, true);
    find(&mut world, second, &[0]);
    world.run_until(secs(5), |world| world.converged()).expect("the waiting node is taken in");
    assert_eq!(world.status(0).members.len(), 2);
}

#[test]
fn a_bootstrap_without_anything_to_find_does_not_wait() {
    let mut world = TestWorld::new(3);
    world.start(SHARDS);
    world.run_until(Duration::from_millis(100), |world| world.converged()).expect("it starts at once");
}

#[test]
fn members_call_on_a_newcomer_that_they_find() {
    let mut world = TestWorld::new(4);
    for _ in 0..3 {
        world.start(SHARDS);
    }
    world.run_until(secs(10), |world| world.converged()).expect("three nodes converge");
    let newcomer = start(&mut world, false);
    for at in 0..3 {
        find(&mut world, at, &[newcomer]);
    }
    world.run_until(secs(1), |world| world.converged()).expect("the newcomer is in at once");
}

#[test]
fn whoever_asks_a_follower_to_be_let_in_is_told_where_the_leader_is() {
    let mut world: TestWorld = World::new(5).with_record().into();
    for _ in 0..3 {
        world.start(SHARDS);
    }
    world.run_until(secs(10), |world| world.converged()).expect("three nodes converge");
    let joiner = start(&mut world, false);
    world.take_record();
    find(&mut world, joiner, &[0, 1, 2]);
    world.run_until(secs(5), |world| world.converged()).expect("the newcomer is in");
    let leader = leader(&world);
    let place = Place {
        id: world.hosts()[leader].node().expect("it runs").inspect().id().get(),
        raft: World::address_of(0, leader, 2).to_string(),
    };
    let frame = Frame::bytes(FrameBody::LeaderAt(place));
    let tells = |said: &&Said| matches!(&said.output, Output::Message { bytes, .. } if *bytes == frame);
    let told: Vec<Option<usize>> = world.record().iter().filter(tells).map(|said| said.to).collect();
    assert!(!told.is_empty() && told.iter().all(|&to| to == Some(joiner)), "{told:?}");
}

/// Two clusters of one name that have heard of each other.
fn twins(seed: u64) -> TestWorld {
    let mut world = TestWorld::new(seed);
    start(&mut world, true);
    start(&mut world, true);
    world.run(Duration::from_millis(400));
    find(&mut world, 0, &[1]);
    let told = |world: &World| twin(world, 0).is_some() && twin(world, 1).is_some();
    world.run_until(secs(15), told).expect("both tell of the other");
    world
}

#[test]
fn two_bootstraps_at_one_moment_both_tell_of_both_clusters_and_go_on() {
    let mut world = twins(5);
    let (first, second) = (twin(&world, 0).unwrap(), twin(&world, 1).unwrap());
    assert_eq!((first.0.to_string(), first.1), (second.1, second.0.to_string()));
    world.run(secs(30));
    for at in 0..2 {
        assert!(refusal(&world, at).is_none());
        assert_eq!(world.status(at).shards_owned, SHARDS, "each serves its own cluster alone");
        let told = world.events(at).iter().filter(|event| matches!(event, Event::TwinCluster { .. })).count();
        assert_eq!(told, 1, "it is told once");
    }
}

#[test]
fn a_joiner_that_sees_two_clusters_is_refused_and_names_both() {
    let mut world = twins(6);
    let ids = [twin(&world, 0).unwrap().0.to_string(), twin(&world, 1).unwrap().0.to_string()];
    let joiner = start(&mut world, false);
    find(&mut world, joiner, &[0]);
    world.run_until(secs(5), |world| refusal(world, joiner).is_some()).expect("it is refused");
    let text = refusal(&world, joiner).unwrap().to_string();
    assert!(ids.iter().all(|id| text.contains(id)), "{text}");
    world.run(secs(2));
    for at in 0..2 {
        let in_cluster =
            world.status(at).members.iter().any(|member| member.name.as_str() == "n2" && member.shards > 0);
        assert!(!in_cluster, "it became no member");
    }
}

#[test]
fn a_bootstrap_that_finds_a_cluster_with_a_node_of_its_own_name_is_refused() {
    // The name of the only member; of a member that follows, found through another; and of one that is dead.
    for (nodes, named, dead) in [(1, 0, false), (3, 2, false), (3, 2, true)] {
        let mut world = TestWorld::new(7);
        start(&mut world, true);
        for _ in 1..nodes {
            let member = start(&mut world, false);
            find(&mut world, member, &[0]);
        }
        world.run_until(secs(5), |world| world.converged()).expect("it starts");
        if dead {
            world.kill(named);
            world.run(secs(1));
        }
        let rival = world.start_with(|config| {
            (config.shards, config.bootstrap, config.discovery) = (SHARDS, true, true);
            config.name = format!("n{named}").parse().expect("a name");
            config.join.clear();
        });
        find(&mut world, rival, &[0]);
        world.run_until(Duration::from_millis(290), |world| refusal(world, rival).is_some()).expect("it is refused");
        assert!(matches!(refusal(&world, rival), Some(Refusal::ClusterExists { node, .. }) if node == "n0"));
        assert!((0..nodes).all(|at| refusal(&world, at).is_none()), "the members go on");
    }
}
