//! A cluster whose application fences its own effects: the dead are replaced at once, two may run, one is believed.

use std::time::Duration;

use funk_proto::id::ShardId;
use funk_proto::status::Role;
use funk_sim::World;
use funk_tests::cuts::{Cut, SHARDS, STEP, cut, form, shards_of, watch, with_role};

fn fenced(seed: u64, nodes: usize) -> World {
    form(World::new(seed).with_fenced_ownership(), seed, nodes).expect("no property is broken")
}

#[test]
fn the_shards_of_a_killed_process_are_served_again_before_its_lease_is_over() {
    for nodes in [3, 5] {
        for role in [Role::Leader, Role::Follower] {
            for seed in 1..=3 {
                let mut world = fenced(seed, nodes);
                let victim = with_role(&world, role);
                let had = shards_of(&world, victim);
                world.kill(victim);
                let pauses = watch(&mut world, &had, Duration::from_secs(1)).expect("no property is broken");
                println!("{nodes} nodes, {role:?}, seed {seed}: {pauses:?}");
                assert!(pauses.others <= STEP, "{nodes} nodes, {role:?}: {pauses:?}");
                assert!(pauses.all < Duration::from_millis(70), "{nodes} nodes, {role:?}: {pauses:?}");
                let owned: u32 = world.running().into_iter().map(|at| world.status(at).shards_owned).sum();
                assert_eq!(owned, SHARDS);
            }
        }
    }
}

/// A live member is cut off. It is declared dead long before its lease is over.
#[test]
fn a_former_owner_that_still_runs_has_an_older_epoch_than_the_present_one() {
    let mut both = 0;
    for seed in 1..=4 {
        let mut world = World::new(seed).with_fenced_ownership();
        for _ in 0..5 {
            world.start_with(|config| {
                config.shards = SHARDS;
                config.timing.lease = Duration::from_millis(500);
            });
        }
        world.run_until(Duration::from_secs(20), World::converged).expect("no property is broken").expect("it settles");
        world.run(Duration::from_millis(1_000 + seed * 7)).expect("no property is broken");
        let victim = with_role(&world, if seed % 2 == 0 { Role::Leader } else { Role::Follower });
        let had = shards_of(&world, victim);
        cut(&mut world, victim, Cut::Both);
        for _ in 0..1_200 {
            world.run(STEP).expect("no property is broken");
            for shard in (0..SHARDS).map(ShardId).filter(|shard| had[shard.0 as usize]) {
                let right = |at: usize| world.hosts()[at].right(world.now(), shard);
                let Some(former) = right(victim) else { continue };
                for present in (0..5).filter(|&other| other != victim).filter_map(right) {
                    both += 1;
                    assert!(former.epoch < present.epoch, "seed {seed}: {former:?} and {present:?}");
                }
            }
        }
        world.mend_all();
        let back = world.run_until(Duration::from_secs(12), World::converged).expect("no property is broken");
        back.unwrap_or_else(|| panic!("seed {seed}: it comes back"));
    }
    assert!(both > 0, "two may serve one shard at a time");
}
