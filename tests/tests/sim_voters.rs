//! Voters that are lost one after another.

use std::time::Duration;

use funk_sim::World;
use funk_tests::cuts::{SHARDS, cluster};

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
