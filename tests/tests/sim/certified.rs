//! Streams show certificates: whoever has one speaks in its own name only.

use std::time::Duration;

use funk_proto::StreamKind;
use funk_proto::status::Role;
use funk_proto::version::Versions;
use funk_proto::wire::cluster::{BootName, Frame, FrameBody, Hello, MemberRecord};
use funk_sim::{Plan, World, run};
use funk_tests::cuts::{form, with_role};

fn name_of(world: &World, at: usize) -> BootName {
    let node = world.hosts()[at].node().expect("it runs").inspect();
    BootName { id: node.id().get(), boot: node.boot().get() }
}

/// What that host says of itself.
fn hello_of(world: &World, at: usize) -> Hello {
    let (said, config) = (name_of(world, at), &world.hosts()[at].config);
    let node = world.hosts()[at].node().expect("it runs").inspect();
    Hello {
        cluster_name: config.cluster.to_string(),
        cluster: node.cluster().expect("it is in one").get(),
        id: said.id,
        boot: said.boot,
        name: config.name.to_string(),
        raft: config.raft.to_string(),
        liveness: config.liveness.to_string(),
        oldest: Versions::OURS.oldest,
        newest: Versions::OURS.newest,
        ..Hello::default()
    }
}

#[test]
fn some_seeds_hold_every_property_where_streams_show_certificates() {
    for seed in 0..2 {
        let outcome = run(&Plan { certified: true, ..Plan::draw(seed) }, false);
        assert_eq!(outcome.violation, None, "sim --certified --seed {seed}");
    }
}

/// Who has a certificate of its own asks to join as somebody else.
#[test]
fn nobody_asks_to_join_in_anothers_name() {
    let mut world = form(World::new(4).with_certificates(), 4, 3).expect("no property is broken");
    let (victim, other) = (with_role(&world, Role::Leader), with_role(&world, Role::Follower));
    let config = world.hosts()[other].config.clone();
    let said = BootName { id: 7, boot: 9 };
    let hello = |name: &str| Hello { id: said.id, boot: said.boot, name: name.into(), ..hello_of(&world, other) };
    let record = |name: &str| MemberRecord {
        id: said.id,
        boot: said.boot,
        name: name.into(),
        serf: config.serf.to_string(),
        raft: config.raft.to_string(),
        liveness: config.liveness.to_string(),
        weight: 1,
        ..MemberRecord::default()
    };
    let frames = [FrameBody::Hello(hello("mallory")), FrameBody::Join(record(config.name.as_str()))].map(Frame::bytes);
    let dropped = |world: &World| world.status(victim).counters.frames_dropped;
    let before = dropped(&world);
    world.inject_messages(victim, StreamKind::Cluster, frames.to_vec());
    world.run(Duration::from_secs(2)).expect("no property is broken");
    assert_eq!(dropped(&world), before + 1);
    assert!(
        world.converged() && world.status(victim).members.iter().filter(|member| member.boot.is_some()).count() == 3
    );
}

/// The stranger of the simulator has a certificate of its own, and says hello as the leader.
#[test]
fn nobody_says_farewell_in_the_leaders_name() {
    let mut world = form(World::new(3).with_certificates(), 3, 3).expect("no property is broken");
    let (leader, victim) = (with_role(&world, Role::Leader), with_role(&world, Role::Follower));
    let (leaders, own) = (name_of(&world, leader), name_of(&world, victim));
    let hello = FrameBody::Hello(hello_of(&world, leader));
    let frames = [hello, FrameBody::Farewell(own), FrameBody::Leave(leaders)].map(Frame::bytes);
    world.inject_messages(victim, StreamKind::Cluster, frames.to_vec());
    world.run(Duration::from_secs(2)).expect("no property is broken");
    assert_eq!(world.status(victim).counters.impersonations, 1);
    assert!(world.converged() && world.status(leader).role == Role::Leader);
}
