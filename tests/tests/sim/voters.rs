//! Voters that are lost one after another.

use std::time::Duration;

use funk_proto::Request;
use funk_proto::status::Role;
use funk_sim::World;
use funk_tests::cuts::{SHARDS, cluster, with_role};

/// A running voter; the leader every other time.
fn voter(world: &World, round: usize) -> usize {
    let (voters, _) = world.voters();
    let leader = world.running().first().and_then(|&at| world.hosts()[at].facts()?.leader);
    let votes = |&at: &usize| world.hosts()[at].facts().is_some_and(|facts| voters.contains(&facts.id));
    let leads = |at: &usize| world.hosts()[*at].facts().map(|facts| facts.id) == leader;
    world.running().into_iter().filter(votes).find(|at| leads(at) == round.is_multiple_of(2)).expect("somebody votes")
}

#[test]
fn twelve_nodes_lose_eight_voters_one_after_another_and_the_last_four_have_a_quorum() {
    let mut world = cluster(1, 12).expect("no property is broken");
    for round in 0..8 {
        let victim = voter(&world, round);
        world.kill(victim);
        let served = world.run_until(Duration::from_secs(5), World::converged).expect("no property is broken");
        served.unwrap_or_else(|| panic!("round {round}: the rest serves all shards"));
        world.run(Duration::from_secs(20)).expect("no property is broken");
        assert!(world.is_quorum(world.running().into_iter()), "round {round}");
    }
    assert_eq!(world.running().len(), 4);
    let owned: u32 = world.running().into_iter().map(|at| world.status(at).shards_owned).sum();
    assert_eq!(owned, SHARDS);
}

/// The change of voters that goes with it must not take the heir's vote meanwhile.
#[test]
fn a_leader_that_leaves_is_followed_by_another_at_once() {
    for nodes in [3, 4, 5, 6] {
        for seed in 1..=10 {
            let mut world = cluster(seed, nodes).expect("no property is broken");
            let leader = with_role(&world, Role::Leader);
            world.request(leader, Request::Leave).expect("it runs");
            let next = |world: &World| (0..nodes).any(|at| at != leader && world.status(at).role == Role::Leader);
            let led = world.run_until(Duration::from_secs(5), next).expect("no property is broken");
            let led = led.unwrap_or_else(|| panic!("{nodes} nodes, seed {seed}: nobody follows"));
            assert!(led < Duration::from_millis(20), "{nodes} nodes, seed {seed}: after {led:?}");
        }
    }
}

/// It has no disk: without it, whoever asks finds no cluster.
#[test]
fn the_last_voter_lets_in_whoever_asks_before_it_leaves() {
    let mut world = cluster(1, 1).expect("no property is broken");
    // The request to leave is still on its way to the disk when the other one asks.
    let slow = Duration::from_millis(20);
    let conditions = &mut world.host_mut(0).disk.conditions;
    (conditions.flush_min, conditions.flush_max) = (slow, slow);
    world.request(0, Request::Leave).expect("it runs");
    let joiner = world.start(SHARDS);
    let left = world.run_until(Duration::from_secs(10), |world| world.hosts()[0].has_left());
    left.expect("no property is broken").expect("it leaves in the end");
    world.kill(0);
    let goes_on = |world: &World| world.status(joiner).role == Role::Leader && world.is_covered(joiner);
    let served = world.run_until(Duration::from_secs(5), goes_on).expect("no property is broken");
    served.expect("the other one goes on alone");
}
