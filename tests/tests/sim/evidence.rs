//! What broken streams and refused dials tell of a process, and what they do not.

use std::time::Duration;

use funk_proto::id::{BootId, RaftId};
use funk_proto::status::Role;
use funk_sim::World;
use funk_tests::cuts::{SHARDS, STEP, boot_after_evidence, cluster, form, shards_of, watch, with_role};

fn settled(seed: u64, nodes: usize) -> World {
    cluster(seed, nodes).expect("no property is broken")
}

fn until(world: &mut World, limit: Duration, done: impl FnMut(&World) -> bool) -> Option<Duration> {
    world.run_until(limit, done).expect("no property is broken")
}

fn boot(world: &World, at: usize) -> (RaftId, BootId) {
    let facts = world.hosts()[at].facts().expect("it runs");
    (facts.id, facts.boot)
}

fn told_by_witnesses(world: &World) -> u64 {
    world.tally.messages.get("refused dial").copied().unwrap_or(0)
}

#[test]
fn a_killed_process_is_found_dead_before_its_silence_is_long_enough() {
    for nodes in [3, 5] {
        for role in [Role::Leader, Role::Follower] {
            for seed in 1..=3 {
                let mut world = settled(seed, nodes);
                let victim = with_role(&world, role);
                let (id, boot) = boot(&world, victim);
                world.kill(victim);
                let leads = |world: &World| world.running().iter().any(|&at| world.status(at).role == Role::Leader);
                let led = until(&mut world, Duration::from_secs(1), leads).expect("somebody leads");
                let dead = until(&mut world, Duration::from_secs(1), |world| !world.holds_for_up(id, boot));
                let found = led + dead.expect("it is found");
                println!("{nodes} nodes, {role:?}, seed {seed}: led after {led:?}, dead after {found:?}");
                assert!(led < Duration::from_millis(20), "{nodes} nodes, {role:?}: led after {led:?}");
                assert!(found < Duration::from_millis(60), "{nodes} nodes, {role:?}: dead after {found:?}");
            }
        }
    }
}

#[test]
fn shards_of_a_process_that_was_found_dead_still_wait_for_its_lease() {
    for role in [Role::Leader, Role::Follower] {
        let mut world = settled(3, 3);
        let victim = with_role(&world, role);
        let (lease, had) = (world.hosts()[victim].lease_ends(), shards_of(&world, victim));
        world.kill(victim);
        // Two servers of one shard would break a property; so would a pause of the others.
        let pauses = watch(&mut world, &had, Duration::from_secs(1)).expect("no property is broken");
        assert!(pauses.others <= STEP, "{role:?}: {pauses:?}");
        assert!(pauses.all < Duration::from_millis(160), "{role:?}: {pauses:?}");
        assert!(world.now() > lease);
        let taken: u32 = world.running().into_iter().map(|at| world.status(at).shards_owned).sum();
        assert_eq!(taken, SHARDS);
    }
}

/// Everybody has evidence of an end that did not take place.
#[test]
fn a_live_process_behind_a_closed_listener_stays_a_member_and_keeps_its_shards() {
    let mut told = 0;
    for nodes in [3, 5] {
        // The live process calls the others itself, so few of them are refused before.
        for seed in 1..=8 {
            let mut world = settled(seed, nodes);
            let (victim, leader) = (with_role(&world, Role::Follower), with_role(&world, Role::Leader));
            let ((id, boot), epoch) = (boot(&world, victim), world.status(leader).epoch);
            world.host_mut(victim).listening = false;
            world.break_streams(victim);
            let dead = until(&mut world, Duration::from_secs(1), |world| !world.holds_for_up(id, boot));
            assert_eq!(dead, None, "{nodes} nodes, seed {seed}: it answers heartbeats");
            told += told_by_witnesses(&world);
            let status = world.status(leader);
            assert_eq!((status.role, status.epoch), (Role::Leader, epoch), "{nodes} nodes, seed {seed}");
        }
    }
    assert!(told > 0, "others believed that it had ended");
}

#[test]
fn evidence_of_one_voter_alone_deposes_no_leader_and_kills_nobody() {
    let mut world = settled(2, 5);
    let leader = with_role(&world, Role::Leader);
    let (term, epoch) = (world.status(leader).term, world.status(leader).epoch);
    let witness = with_role(&world, Role::Follower);
    // Only one of them is refused by all others, as by a firewall before itself.
    for other in (0..5).filter(|&other| other != witness) {
        world.network.link_mut(witness, other).rejects = 1;
    }
    world.break_streams(witness);
    world.run(Duration::from_millis(100)).expect("no property is broken");
    assert_eq!((world.status(leader).role, world.status(leader).term), (Role::Leader, term));
    assert!(world.status(leader).epoch == epoch || world.status(witness).shards_owned == 0, "nobody else moved");
    for other in (0..5).filter(|&other| other != witness) {
        world.network.link_mut(witness, other).rejects = 0;
    }
    let back = until(&mut world, Duration::from_secs(12), World::converged);
    back.expect("it comes back");
}

#[test]
fn a_new_process_is_not_dead_for_what_was_found_of_the_former() {
    for seed in 1..=3 {
        assert_eq!(boot_after_evidence(seed), Ok(None), "seed {seed}");
    }
}

/// Whoever holds the lock of a data directory knows that the processes before it are gone.
#[test]
fn the_shards_of_a_process_that_starts_again_at_once_do_not_wait_for_its_former_lease() {
    for role in [Role::Leader, Role::Follower] {
        for seed in 1..=3 {
            let world = World::new(seed).with_durable_disks();
            let mut world = form(world, seed, 3).expect("no property is broken");
            let victim = with_role(&world, role);
            let had = shards_of(&world, victim);
            world.kill(victim);
            world.restart(victim);
            let pauses = watch(&mut world, &had, Duration::from_secs(1)).expect("no property is broken");
            println!("{role:?}, seed {seed}: {pauses:?}");
            assert!(pauses.others <= STEP, "{role:?}, seed {seed}: {pauses:?}");
            assert!(pauses.all < Duration::from_millis(60), "{role:?}, seed {seed}: {pauses:?}");
            let owned: u32 = world.running().into_iter().map(|at| world.status(at).shards_owned).sum();
            assert_eq!(owned, SHARDS);
        }
    }
}

#[test]
fn a_cluster_that_starts_again_as_a_whole_waits_for_no_lease_of_before() {
    for seed in 1..=3 {
        let mut world = form(World::new(seed).with_durable_disks(), seed, 3).expect("no property is broken");
        (0..3).for_each(|at| world.kill(at));
        (0..3).for_each(|at| world.restart(at));
        let served = until(&mut world, Duration::from_secs(5), World::converged).expect("it serves again");
        println!("seed {seed}: {served:?}");
        assert!(served < Duration::from_millis(120), "seed {seed}: {served:?}");
    }
}

#[test]
fn nodes_that_start_again_one_after_another_have_the_shards_that_they_had() {
    for seed in 1..=10 {
        let mut world = form(World::new(seed).with_durable_disks(), seed, 3).expect("no property is broken");
        let before: Vec<Vec<bool>> = (0..3).map(|at| shards_of(&world, at)).collect();
        (0..3).for_each(|at| world.kill(at));
        for at in 0..3 {
            world.restart(at);
            world.run(Duration::from_millis(seed * 3)).expect("no property is broken");
        }
        until(&mut world, Duration::from_secs(5), World::converged).expect("it serves again");
        let after: Vec<Vec<bool>> = (0..3).map(|at| shards_of(&world, at)).collect();
        assert_eq!(after, before, "seed {seed}");
    }
}
