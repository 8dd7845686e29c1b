//! What an operator asks of the leader: add, remove, drain, step down.
//! Every property is checked at every step.

use std::time::Duration;

use funk_proto::id::{BootId, NodeName};
use funk_proto::status::GossipStatus;
use funk_proto::{Event, OperationRefused, Outcome, Participation, Refusal, Request, Status};
use funk_sim::World;
use funk_tests::world::{TestWorld, follower, leader, name, outcomes};

const SHARDS: u32 = 60;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn cluster(seed: u64, nodes: usize, durable: bool) -> TestWorld {
    let mut world = if durable { TestWorld::durable(seed) } else { TestWorld::new(seed) };
    for _ in 0..nodes {
        world.start(SHARDS);
    }
    world.run_until(secs(20), World::converged).expect("it converges");
    world.run(secs(2));
    world
}

/// Asks, and runs until the answer.
fn ask(world: &mut TestWorld, at: usize, request: Request) -> Outcome {
    let before = outcomes(world, at).len();
    world.request(at, request);
    world.run_until(secs(40), |world| outcomes(world, at).len() > before).expect("every operation ends");
    outcomes(world, at).pop().expect("one was told")
}

fn shards_of(status: &Status, name: &NodeName) -> Option<u32> {
    status
        .members
        .iter()
        .find(|member| member.name == name.as_str() && member.boot.is_some())
        .map(|member| member.shards)
}

fn boot(status: &Status, name: &NodeName) -> Option<BootId> {
    status.members.iter().find(|member| member.name == name.as_str())?.boot
}

fn is_refused(world: &World, at: usize) -> bool {
    world.events(at).contains(&Event::Refused(Refusal::Removed))
}

/// Another process of a dead member's name: one that shows an identity of its own, and one that shows none.
#[test]
fn a_dead_member_is_not_shown_as_alive_because_somebody_else_has_its_name() {
    for participation in [Participation::NonMember, Participation::Learner] {
        let mut world = cluster(1, 3, false);
        let dead = if leader(&world) == 2 { 1 } else { 2 };
        world.kill(dead);
        let new = world.start_with(|config| (config.name, config.participation) = (name(dead), participation));
        let shown = |world: &World, alive: bool| {
            let status = world.status(0);
            let member = status.members.iter().find(|member| member.name == name(dead).as_str());
            member.is_some_and(|member| (member.gossip == GossipStatus::Alive) == alive)
        };
        let asked = |world: &World, at: usize| world.status(at).members.len() >= 3;
        world.run_until(secs(20), |world| asked(world, new)).expect("the new process sees the others");
        for _ in 0..100 {
            world.run(Duration::from_millis(50));
            let is_in = shards_of(&world.status(0), &name(dead)).is_some();
            assert!(is_in || shown(&world, false), "{participation:?}: {:?}", world.status(0).members);
        }
    }
}

#[test]
fn a_drained_member_owns_nothing_and_stays_until_it_is_started_again() {
    for durable in [false, true] {
        let mut world = cluster(1, 3, durable);
        let (first, idle) = (leader(&world), follower(&world));
        assert_eq!(ask(&mut world, first, Request::Drain(name(idle))), Outcome::Done);
        assert_eq!(shards_of(&world.status(first), &name(idle)), Some(0));
        world.run(secs(5));
        assert_eq!(shards_of(&world.status(first), &name(idle)), Some(0), "it stays a member without shards");
        assert!(matches!(
            ask(&mut world, first, Request::Drain(name(3))),
            Outcome::Refused(OperationRefused::UnknownMember(_))
        ));
        world.kill(idle);
        world.run(secs(1));
        world.restart(idle);
        world.run_until(secs(10), World::converged).expect("it serves again");
    }
}

#[test]
fn a_member_that_has_just_restarted_is_drained_of_what_its_former_boot_held() {
    let mut world = cluster(6, 3, true);
    let (first, idle) = (leader(&world), follower(&world));
    let former = boot(&world.status(first), &name(idle));
    world.kill(idle);
    world.resume_from_disk(idle);
    let back = |world: &World| boot(&world.status(first), &name(idle)).is_some_and(|boot| Some(boot) != former);
    world.run_until(secs(10), back).expect("it is let in again");
    let held = shards_of(&world.status(first), &name(idle)).expect("it is a member");
    assert!(held > 0, "its former boot's shards are nobody else's yet");
    assert_eq!(ask(&mut world, first, Request::Drain(name(idle))), Outcome::Done);
    assert_eq!(shards_of(&world.status(first), &name(idle)), Some(0));
}

#[test]
fn the_leader_may_be_drained_and_goes_on_leading() {
    let mut world = cluster(2, 3, false);
    let first = leader(&world);
    assert_eq!(ask(&mut world, first, Request::Drain(name(first))), Outcome::Done);
    world.run(secs(2));
    assert_eq!((leader(&world), world.status(first).shards_owned), (first, 0));
}

#[test]
fn the_last_owner_cannot_be_drained_or_removed() {
    let mut world = cluster(3, 2, false);
    let (first, other) = (leader(&world), follower(&world));
    assert_eq!(ask(&mut world, first, Request::Drain(name(other))), Outcome::Done);
    for request in [Request::Drain(name(first)), Request::RemoveMember(name(first))] {
        let outcome = ask(&mut world, first, request);
        assert!(matches!(outcome, Outcome::Refused(OperationRefused::Impossible(_))), "{outcome:?}");
    }
}

#[test]
fn a_removed_member_is_gone_and_its_boot_does_not_come_back() {
    for durable in [false, true] {
        for nodes in [2, 3, 5] {
            let mut world = cluster(4, nodes, durable);
            let (first, gone) = (leader(&world), follower(&world));
            assert_eq!(ask(&mut world, first, Request::RemoveMember(name(gone))), Outcome::Done);
            world.run_until(secs(5), |world| is_refused(world, gone)).expect("it is told");
            assert_eq!(shards_of(&world.status(first), &name(gone)), None);
            world.kill(gone);
            world.run_until(secs(5), World::converged).expect("the others go on");
            world.restart(gone);
            let back = |world: &World| world.running().len() == nodes && world.converged();
            world.run_until(secs(10), back).expect("a new boot is let in");
        }
    }
}

#[test]
fn a_removed_member_has_left_in_gossip_also_a_former_leader_and_one_with_a_disk() {
    for durable in [false, true] {
        for led in [false, true] {
            let mut world = cluster(7, 3, durable);
            let first = leader(&world);
            let gone = if led { first } else { follower(&world) };
            if led {
                assert_eq!(ask(&mut world, first, Request::StepDown), Outcome::Done);
                world.run(secs(1));
            }
            let now = leader(&world);
            assert_eq!(ask(&mut world, now, Request::RemoveMember(name(gone))), Outcome::Done);
            let others: Vec<usize> = (0..3).filter(|&at| at != gone).collect();
            let shown = |world: &World, at: usize| {
                let status = world.status(at);
                status.members.iter().find(|member| member.name == name(gone).as_str()).map(|member| member.gossip)
            };
            let left =
                |world: &World| others.iter().all(|&at| matches!(shown(world, at), Some(GossipStatus::Left) | None));
            world.run_until(secs(5), |world| is_refused(world, gone)).expect("it is told");
            world.run_until(secs(2), left).expect("it has left, for all, though its process is still there");
            world.run(secs(5));
            assert!(left(&world), "and it stays so");
        }
    }
}

#[test]
fn a_dead_member_is_removed_and_one_that_only_slept_is_kept_out_by_every_later_leader() {
    for durable in [false, true] {
        let mut world = cluster(5, 4, durable);
        let (first, gone) = (leader(&world), follower(&world));
        world.pause(gone);
        world.run(Duration::from_millis(400));
        let outcome = ask(&mut world, first, Request::RemoveMember(name(gone)));
        let forgotten = Outcome::Refused(OperationRefused::UnknownMember(name(gone)));
        assert!(outcome == Outcome::Done || !durable && outcome == forgotten, "{outcome:?}");
        if outcome == Outcome::Done {
            world.run(secs(1));
            assert_eq!(ask(&mut world, first, Request::StepDown), Outcome::Done);
            world.resume(gone);
            world.run_until(secs(10), |world| is_refused(world, gone)).expect("it is told");
        }
    }
}

#[test]
fn a_node_that_waits_is_let_in_by_its_name_only() {
    let mut world = TestWorld::new(6);
    for _ in 0..3 {
        world.start_with(|config| (config.shards, config.auto_join) = (SHARDS, false));
    }
    world.run(secs(5));
    assert_eq!(world.status(0).shards_owned, SHARDS);
    for at in [1, 1, 2] {
        assert_eq!(ask(&mut world, 0, Request::AddMember(name(at))), Outcome::Done);
        assert!(shards_of(&world.status(0), &name(at)).is_some());
    }
    world.run_until(secs(10), World::converged).expect("all serve");
    let stranger = ask(&mut world, 0, Request::AddMember(name(7)));
    assert_eq!(stranger, Outcome::Refused(OperationRefused::UnknownMember(name(7))));
}

#[test]
fn a_restarted_durable_member_comes_back_without_being_added_again() {
    let mut world = TestWorld::durable(7);
    for _ in 0..3 {
        world.start_with(|config| (config.shards, config.auto_join) = (SHARDS, false));
    }
    world.run(secs(3));
    for at in [1, 2] {
        assert_eq!(ask(&mut world, 0, Request::AddMember(name(at))), Outcome::Done);
    }
    world.run_until(secs(10), World::converged).expect("all serve");
    world.run(secs(2));
    world.kill(1);
    world.run(secs(2));
    world.restart(1);
    world.run_until(secs(10), |world| world.running().len() == 3 && world.converged()).expect("it is back");
}

#[test]
fn step_down_ends_when_another_voter_leads() {
    let mut world = cluster(8, 3, false);
    let first = leader(&world);
    assert_eq!(ask(&mut world, first, Request::StepDown), Outcome::Done);
    assert_ne!(leader(&world), first);
    let follower = follower(&world);
    let refused = ask(&mut world, follower, Request::StepDown);
    assert_eq!(refused, Outcome::Refused(OperationRefused::NotLeader { leader: Some(name(leader(&world))) }));
    let mut alone = cluster(9, 1, false);
    assert!(matches!(ask(&mut alone, 0, Request::StepDown), Outcome::Refused(OperationRefused::Impossible(_))));
}

#[test]
fn an_operation_whose_leader_is_lost_ends_unknown() {
    let mut world = cluster(10, 3, false);
    let first = leader(&world);
    world.isolate(first);
    let other = follower(&world);
    assert_eq!(ask(&mut world, first, Request::RemoveMember(name(other))), Outcome::Unknown);
}

#[test]
fn operations_are_bounded() {
    let mut world = cluster(11, 3, false);
    let first = leader(&world);
    world.isolate(first);
    let other = name(follower(&world));
    let taken = (0..40).filter(|_| World::request(&mut world, first, Request::Drain(other.clone())).is_ok()).count();
    assert_eq!(taken, funk_proto::limits::OPERATIONS_MAX);
}
