//! Pins, capacities, weights, and what is told of a change before it is made.
//! Every property is checked at every step.

use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use funk_proto::id::{NodeName, ShardId};
use funk_proto::shards::dry_run::WhatIf;
use funk_proto::status::NodeState;
use funk_proto::{Event, OperationRefused, Outcome, Request};
use funk_sim::World;
use funk_tests::world::{TestWorld, leader, name, node};

const SHARDS: u32 = 60;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Everybody knows one map, and nothing moves.
fn at_rest(world: &World) -> bool {
    let all: Vec<_> = world.running().into_iter().map(|at| world.status(at)).collect();
    all.iter().all(|status| status.state == NodeState::Operational && status.epoch == all[0].epoch)
}

fn cluster(seed: u64, capacities: &[u32]) -> TestWorld {
    let mut world = TestWorld::new(seed);
    for &capacity in capacities {
        world.start_with(|config| (config.shards, config.capacity) = (SHARDS, NonZeroU32::new(capacity)));
    }
    world.run_until(secs(20), at_rest).expect("it comes to rest");
    world.run(secs(2));
    world
}

fn followers(world: &World) -> Vec<usize> {
    let leader = leader(world);
    world.running().into_iter().filter(|&at| at != leader).collect()
}

fn last_outcome(world: &World, at: usize) -> Option<Outcome> {
    let ended = |event: &Event| match event {
        Event::RequestDone { outcome, .. } => Some(outcome.clone()),
        _ => None,
    };
    world.events(at).iter().rev().find_map(ended)
}

/// Asks the leader, and runs until the answer.
fn ask(world: &mut TestWorld, request: Request) -> Outcome {
    let at = leader(world);
    let ended =
        |world: &World| world.events(at).iter().filter(|event| matches!(event, Event::RequestDone { .. })).count();
    let before = ended(world);
    world.request(at, request);
    world.run_until(secs(40), |world| ended(world) > before).expect("every operation ends");
    last_outcome(world, at).expect("one was told")
}

fn pin(shards: Range<u32>, node: Option<usize>) -> Request {
    Request::Pin { shards, node: node.map(name) }
}

fn owners(world: &World) -> Vec<NodeName> {
    let routes = node(world, leader(world)).routes();
    let owner = |shard| routes.owner(ShardId(shard)).expect("each has an owner").0.name.clone();
    (0..SHARDS).map(owner).collect()
}

/// Runs until the map is as it should be, in rest.
fn settle(world: &mut TestWorld) {
    world.run(secs(2));
    world.run_until(secs(20), at_rest).expect("it comes to rest");
}

fn counts(world: &World) -> Vec<u32> {
    world.running().into_iter().map(|at| world.status(at).shards_owned).collect()
}

#[test]
fn pinned_shards_stay_with_a_node_while_it_is_up_and_wait_for_it_while_it_is_not() {
    let mut world = cluster(1, &[0; 3]);
    let home = followers(&world)[0];
    assert_eq!(ask(&mut world, pin(10..40, Some(home))), Outcome::Done);
    settle(&mut world);
    let at_home = |world: &World| owners(world)[10..40].iter().all(|owner| *owner == name(home));
    assert!(at_home(&world), "{:?}", owners(&world));
    assert_eq!(counts(&world).iter().sum::<u32>(), SHARDS);
    assert!(world.status(leader(&world)).pins[0].honoured);
    // Down: others have them, and the pin says so.
    world.kill(home);
    world.run(secs(2));
    assert!(!owners(&world).contains(&name(home)));
    let pins = world.status(leader(&world)).pins;
    assert_eq!((pins[0].shards.clone(), pins[0].node.clone(), pins[0].honoured), (10..40, name(home), false));
    // Back under its name: they come home.
    world.restart(home);
    settle(&mut world);
    assert!(at_home(&world));
    // Drained: a pin keeps no shard there.
    assert_eq!(ask(&mut world, Request::Drain(name(home))), Outcome::Done);
    assert!(!owners(&world).contains(&name(home)));
    assert_eq!(ask(&mut world, pin(0..SHARDS, None)), Outcome::Done);
    assert!(world.status(leader(&world)).pins.is_empty());
}

#[test]
fn pins_that_cannot_be_are_refused_with_the_reason() {
    let mut world = cluster(2, &[0, 20, 0]);
    let small = 1;
    assert_eq!(ask(&mut world, pin(0..20, Some(small))), Outcome::Done);
    for (request, why) in [
        (pin(20..21, Some(small)), "takes 20 shards at most"),
        (pin(5..5, Some(0)), "name one or more"),
        (pin(50..61, Some(0)), "0 to 59"),
        (Request::SetWeight(name(0), 0), "1 to 1000000"),
    ] {
        let outcome = ask(&mut world, request.clone());
        let Outcome::Refused(refused) = &outcome else { panic!("{request:?}: {outcome:?}") };
        assert!(refused.to_string().contains(why), "{request:?}: {refused}");
    }
    let unknown = ask(&mut world, Request::Pin { shards: 0..1, node: Some("nobody".parse().unwrap()) });
    assert!(matches!(unknown, Outcome::Refused(OperationRefused::UnknownMember(_))), "{unknown:?}");
}

#[test]
fn a_member_has_no_more_shards_than_its_capacity_and_too_little_room_is_told() {
    let mut world = cluster(3, &[5, 40, 40]);
    assert_eq!((world.status(0).shards_owned, counts(&world).iter().sum::<u32>()), (5, SHARDS));
    assert_eq!(world.status(0).over_capacity, 0);
    let lost = (1..3).find(|&at| at != leader(&world)).unwrap();
    world.kill(lost);
    world.run(secs(2));
    assert_eq!(counts(&world).iter().sum::<u32>(), SHARDS, "all are served though there is room for 45");
    for at in world.running() {
        assert_eq!(world.status(at).over_capacity, 15);
        assert!(world.events(at).contains(&Event::OverCapacity { shards: 15 }), "node {at}");
    }
    world.restart(lost);
    settle(&mut world);
    assert_eq!((world.status(0).shards_owned, world.status(0).over_capacity), (5, 0));
}

#[test]
fn what_is_told_of_a_change_is_what_it_does() {
    for seed in 0..3 {
        let mut world = cluster(10 + seed, &[0; 4]);
        let others = followers(&world);
        let steps = [
            (WhatIf::Weight(name(others[0]), 3), Request::SetWeight(name(others[0]), 3)),
            (WhatIf::Pin(7..29, Some(name(others[1]))), pin(7..29, Some(others[1]))),
            (WhatIf::Drain(name(others[1])), Request::Drain(name(others[1]))),
            (WhatIf::Remove(name(others[2])), Request::RemoveMember(name(others[2]))),
        ];
        for (what_if, request) in steps {
            // Any node can tell.
            let told = node(&world, others[0]).dry_run(&what_if).unwrap();
            assert_ne!(told.moved(), 0, "{what_if:?}");
            assert_eq!(ask(&mut world, request), Outcome::Done);
            if matches!(what_if, WhatIf::Remove(_)) {
                // Its application ends it.
                world.kill(others[2]);
            }
            settle(&mut world);
            let told: Vec<_> = told.owners.iter().map(|at| told.nodes[usize::from(at.unwrap())].clone()).collect();
            assert_eq!(told, owners(&world), "{what_if:?}");
        }
        let newcomer = WhatIf::Add { node: name(4), weight: 1, capacity: None };
        let told = node(&world, others[0]).dry_run(&newcomer).unwrap();
        world.start(SHARDS);
        settle(&mut world);
        let told: Vec<_> = told.owners.iter().map(|at| told.nodes[usize::from(at.unwrap())].clone()).collect();
        assert_eq!(told, owners(&world));
    }
}
