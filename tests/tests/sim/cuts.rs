//! Nodes that hear nobody, or are heard by nobody, while all else goes on.

use std::time::Duration;

use funk_proto::status::Role;
use funk_sim::World;
use funk_tests::cuts::{
    Cut, Pauses, SHARDS, STEP, clock_stands_still, cluster, cut, entries_while_datagrams_are_lost, newcomers_end,
    shards_of, watch, with_role,
};

/// Cuts a node of this role off for a second and mends it, with several seeds: the longest pauses.
fn pauses_of(nodes: usize, role: Role, which: Cut) -> Pauses {
    let mut worst = Pauses::default();
    for seed in 1..=2 {
        let mut world = cluster(seed, nodes).expect("no property is broken");
        let victim = with_role(&world, role);
        let had = shards_of(&world, victim);
        cut(&mut world, victim, which);
        let pauses = watch(&mut world, &had, Duration::from_secs(1)).expect("no property is broken");
        let others = (0..nodes).filter(|&at| at != victim);
        let taken: u32 = others.map(|at| world.status(at).shards_owned).sum();
        assert_eq!(taken, SHARDS, "seed {seed}: the others have all shards");
        world.mend_all();
        let healed = world.run_until(Duration::from_secs(12), World::converged).expect("no property is broken");
        healed.unwrap_or_else(|| panic!("seed {seed}: it comes back"));
        worst = Pauses { others: worst.others.max(pauses.others), all: worst.all.max(pauses.all) };
    }
    worst
}

#[test]
fn a_node_that_hears_nobody_or_is_heard_by_nobody_pauses_no_shard_of_the_others() {
    for nodes in [3, 5] {
        for role in [Role::Leader, Role::Follower] {
            for which in [Cut::In, Cut::Out, Cut::Both] {
                let pauses = pauses_of(nodes, role, which);
                assert!(pauses.others <= STEP, "{nodes} nodes, {role:?}, {which:?}: {pauses:?}");
                // Its lease holds on for a while; a deaf leader's voters promise more until it knows that it is deaf.
                assert!(pauses.all < Duration::from_millis(110), "{nodes} nodes, {role:?}, {which:?}: {pauses:?}");
            }
        }
    }
}

#[test]
fn a_machine_whose_clock_stood_still_learns_it_from_the_others_before_it_serves() {
    for role in [Role::Leader, Role::Follower] {
        for seed in 1..=5 {
            assert_eq!(clock_stands_still(seed, role), Ok(None), "{role:?}, seed {seed}");
        }
    }
}

#[test]
fn a_member_that_datagrams_do_not_reach_or_leave_is_let_in_less_and_less_often() {
    for which in [Cut::In, Cut::Out] {
        for seed in 1..=3 {
            let entries = entries_while_datagrams_are_lost(seed, which).expect("no property is broken");
            assert!(entries <= 150, "{which:?}, seed {seed}: {entries} entries in 20 s");
        }
    }
}

#[test]
fn newcomers_that_end_at_once_leave_the_one_that_stayed_its_majority() {
    for seed in 1..=3 {
        assert_eq!(newcomers_end(seed), Ok(None), "seed {seed}");
    }
}
