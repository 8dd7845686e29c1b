//! Each property, broken on purpose: its checker says so.

use std::time::Duration;

use funk_proto::consensus::RaftRole;
use funk_proto::id::{Epoch, LogIndex, Term};
use funk_proto::status::NodeState;
use funk_proto::{DatagramSocket, Event, Refusal, Request};

use crate::host::Host;
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

/// Tells every checker of an event that no node gave.
fn lie(world: &mut World, at: usize, event: &Event) {
    world.check(Some(at), |checker, scene| checker.on_event(scene, at, event));
}

fn leader(world: &World) -> usize {
    let leads = |host: &Host| host.facts().is_some_and(|facts| facts.role == RaftRole::Leader);
    world.hosts().iter().position(leads).expect("somebody leads")
}

fn property(world: &World) -> Option<&'static str> {
    world.violation().map(|violation| violation.property)
}

#[test]
fn a_death_without_a_cause_breaks_false_positives() {
    let mut world = cluster(World::new(1).with_checkers(vec![Box::<super::FalsePositives>::default()]));
    world.run(Duration::from_secs(3)).expect("nothing is broken yet");
    let leader = leader(&world);
    let other = &world.hosts()[(leader + 1) % 3];
    let event = Event::MemberFailed { name: other.config.name.clone(), id: other.facts().expect("it runs").id };
    world.request(leader, Request::Propose("an entry under way".into())).expect("it leads");
    // A pause is a cause.
    world.pause((leader + 1) % 3);
    lie(&mut world, leader, &event);
    assert_eq!(property(&world), None);
    world.resume((leader + 1) % 3);
    world.run(Duration::from_secs(5)).expect("nothing is broken yet");
    world.request(leader, Request::Propose("another one".into())).expect("it leads");
    lie(&mut world, leader, &event);
    assert_eq!(property(&world), Some("false positives"));
}

#[test]
fn a_divergence_that_is_none_breaks_state_machine_safety() {
    let mut world = cluster(World::new(1).with_checkers(vec![Box::<super::StateMachineSafety>::default()]));
    world.run(Duration::from_secs(3)).expect("nothing is broken yet");
    lie(&mut world, 1, &Event::Refused(Refusal::Diverged { index: LogIndex(3) }));
    assert_eq!(property(&world), Some("state machine safety"));
}

#[test]
fn an_election_without_a_cause_breaks_term_growth() {
    for (killed, broken) in [(true, None), (false, Some("term growth"))] {
        let mut world = cluster(World::new(1).with_checkers(vec![Box::<super::TermGrowth>::default()]));
        world.run(Duration::from_secs(5)).expect("nothing is broken yet");
        let leader = leader(&world);
        if killed {
            world.kill(leader);
        } else {
            // Nobody finds it any more, and no fault says so.
            world.host_mut(leader).config.serf.set_ip([10, 9, 9, 9].into());
        }
        let _ = world.run(Duration::from_secs(5));
        assert_eq!(property(&world), broken, "killed {killed}");
    }
}

#[test]
fn events_that_contradict_each_other_break_their_order() {
    let leader = |name: &str, term| Event::Leader { leader: Some(name.parse().expect("legal")), term: Term(term) };
    let lies = [
        vec![leader("n0", 90), leader("n1", 90)],
        vec![leader("n0", 91), leader("n0", 90)],
        vec![Event::Map { epoch: Epoch(900) }, Event::Map { epoch: Epoch(900) }],
        vec![Event::State(NodeState::Joining), Event::State(NodeState::Joining)],
        vec![Event::Left, Event::State(NodeState::Operational)],
    ];
    for events in lies {
        let mut world = cluster(World::new(1).with_checkers(vec![Box::<super::EventOrder>::default()]));
        for event in &events {
            assert_eq!(property(&world), None, "{events:?}");
            lie(&mut world, 1, event);
        }
        assert_eq!(property(&world), Some("event order"), "{events:?}");
    }
}

#[test]
fn a_life_that_begins_again_by_an_old_word_breaks_gossip_lives() {
    use super::gossip_lives::check;
    let life = |incarnation, gone, port| funk_proto::gossip::GossipLife {
        name: bytes::Bytes::from_static(b"n2"),
        address: ([10, 0, 0, 3], port).into(),
        incarnation,
        gone,
    };
    assert!(check(&life(4, true, 1), &life(4, false, 1)).is_err(), "with the incarnation that ended");
    assert!(check(&life(4, false, 1), &life(3, false, 1)).is_err(), "with an older one");
    assert!(check(&life(4, true, 1), &life(5, false, 1)).is_ok(), "it answered");
    assert!(check(&life(4, true, 1), &life(1, false, 2)).is_ok(), "it is another process");
}

#[test]
fn two_snapshots_of_one_entry_that_differ_break_snapshots() {
    use funk_proto::wire::raft::{RaftRecord, SnapshotMeta};
    use prost::Message as _;
    let mut world = cluster(World::new(1).with_checkers(vec![Box::<super::Snapshots>::default()]));
    let mut write = |at, index, state: &'static [u8]| {
        let snapshot = Some(SnapshotMeta { index, term: 2, ..SnapshotMeta::default() });
        let record = RaftRecord { snapshot, state: state.into(), ..RaftRecord::default() };
        let record = bytes::Bytes::from(record.encode_to_vec());
        let persist = funk_proto::Persist { token: funk_proto::Token(9), record, replaces: true };
        world.check(Some(at), |checker, scene| checker.on_persist(scene, at, &persist));
        property(&world)
    };
    assert_eq!(write(0, 9_000, b"one"), None);
    assert_eq!(write(1, 9_000, b"one"), None, "it is the same");
    assert_eq!(write(1, 9_001, b"two"), None, "it is of another entry");
    assert_eq!(write(2, 9_000, b"two"), Some("snapshots"));
}
