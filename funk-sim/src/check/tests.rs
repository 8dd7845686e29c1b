//! Each property, broken on purpose: its checker says so.

use std::time::Duration;

use funk_proto::DatagramSocket;

use crate::world::World;

const SHARDS: u32 = 12;

/// Three nodes that agree and serve.
fn cluster(world: World) -> World {
    let mut world = world;
    for _ in 0..3 {
        world.start(SHARDS);
    }
    let settled = world.run_until(Duration::from_secs(20), World::converged).expect("nothing is broken yet");
    settled.expect("it converges");
    world.run(Duration::from_secs(1)).expect("nothing is broken yet");
    world
}

/// The property that breaks within five seconds.
fn broken(world: &mut World) -> Option<&'static str> {
    world.run(Duration::from_secs(5)).err().map(|violation| violation.property)
}

#[test]
fn a_goodbye_of_a_process_that_lives_breaks_endings() {
    let mut world = cluster(World::new(1));
    for word in world.hosts()[1].node().expect("it runs").last_words() {
        let (to, from) = (world.host_at(word.to).expect("a peer"), world.hosts()[1].address(3));
        world.inject_datagram(to, DatagramSocket::Liveness, from, word.goodbye);
    }
    assert_eq!(broken(&mut world), Some("endings"));
}

#[test]
fn an_operation_without_an_end_breaks_waiters() {
    let mut world = cluster(World::new(1));
    world.check(Some(1), |checker, scene| checker.on_request(scene, 1, funk_proto::RequestId(u64::MAX)));
    assert_eq!(broken(&mut world), None);
    world.run(Duration::from_secs(35)).expect("not yet");
    assert!(broken(&mut world).is_none());
    world.check_at_end();
    let _ = world.run(Duration::from_secs(5));
    world.check_at_end();
    assert_eq!(world.violation().map(|violation| violation.property), Some("waiters"));
}

#[test]
fn a_disk_that_forgets_what_was_stable_breaks_stable_records() {
    let mut world = cluster(World::new(1).with_durable_disks());
    world.kill(1);
    world.host_mut(1).disk.forget();
    world.restart(1);
    assert_eq!(broken(&mut world), Some("stable records"));
}

#[test]
fn a_disk_that_is_refused_for_nothing_breaks_stable_records() {
    let mut world = cluster(World::new(1).with_durable_disks());
    world.kill(1);
    let mut rng = world.rng.clone();
    while world.host_mut(1).disk.open().is_ok() {
        world.host_mut(1).disk.rot(&mut rng);
    }
    world.host_mut(1).disk.believe_sound();
    world.restart(1);
    assert_eq!(broken(&mut world), Some("stable records"));
}
