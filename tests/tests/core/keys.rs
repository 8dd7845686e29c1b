//! Gossip keys of a whole cluster: rotations, and members that were away meanwhile.

use std::time::Duration;

use funk_proto::status::GossipStatus;
use funk_proto::{Keyring, Outcome};
use funk_sim::World;
use funk_tests::keys::{cluster, key, order, rotate};
use funk_tests::world::{TestWorld, follower, leader, node, outcomes};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn start(seed: u64, nodes: usize, is_certified: bool) -> TestWorld {
    cluster(seed, nodes, 7, is_certified).expect("no property is broken").into()
}

/// Whether this host has this key alone, and so says the replicated state.
fn has(world: &World, at: usize, n: u8) -> bool {
    let (_, mark, own) = node(world, at).inspect().ring();
    own == [key(n).id()] && mark == own
}

#[test]
fn a_rotation_under_loss_is_whole_and_its_versions_are_in_the_log() {
    let mut world = start(1, 5, false);
    assert!(world.running().iter().all(|&at| has(&world, at, 7)), "the first leader says which keys there are");
    world.lose(10);
    let before = node(&world, 0).inspect().ring().0;
    for n in 7..10 {
        let reports = rotate(&mut world, n, n + 1).expect("no property is broken");
        assert!(reports.len() == 3 && reports.iter().all(|report| report.is_whole()), "{reports:?}");
        assert!(reports.iter().all(|report| report.answers.len() == 5), "{reports:?}");
    }
    world.lose(0);
    let all = |world: &World| (0..5).all(|at| has(world, at, 10));
    assert!(world.run_until(secs(5), all).is_some());
    // Each of three rotations has three steps; two that came quickly may be one entry.
    let versions = node(&world, 0).inspect().ring().0 - before;
    assert!((3..=9).contains(&versions), "{versions}");
    world.run(secs(20));
    let failed = |at: usize| world.status(at).members.iter().any(|member| member.gossip != GossipStatus::Alive);
    assert!(!(0..5).any(failed));
}

#[test]
fn a_member_that_was_down_through_two_rotations_gets_the_keys_on_a_stream_with_a_certificate() {
    for seed in 1..=5 {
        let mut world = start(seed, 3, true);
        let away = follower(&world);
        world.kill(away);
        world.run(secs(5));
        for n in 7..9 {
            let reports = rotate(&mut world, n, n + 1).expect("no property is broken");
            assert!(reports.len() == 3 && reports.iter().all(|report| report.is_whole()), "{reports:?}");
        }
        world.resume_from_disk(away);
        let back = |world: &World| has(world, away, 9) && world.converged();
        assert!(world.run_until(secs(20), back).is_some(), "seed {seed}: {:?}", node(&world, away).inspect().ring());
        let alive =
            |world: &World, at| world.status(at).members.iter().all(|member| member.gossip == GossipStatus::Alive);
        assert!(world.run_until(secs(20), |world| (0..3).all(|at| alive(world, at))).is_some(), "seed {seed}");
    }
}

#[test]
fn without_certificates_no_key_is_sent_and_the_member_serves_all_the_same() {
    let mut world = start(6, 3, false);
    let away = follower(&world);
    world.kill(away);
    world.run(secs(5));
    rotate(&mut world, 7, 8).expect("no property is broken");
    world.resume_from_disk(away);
    world.run(secs(15));
    assert_eq!(node(&world, away).inspect().ring().2, [key(7).id()]);
    assert!(world.status(away).shards_owned > 0, "gossip decides nothing");
}

/// Nobody has the keys that the log names: they were replaced on all nodes by hand.
#[test]
fn keys_that_all_nodes_were_given_anew_replace_those_of_the_log() {
    let mut world = start(7, 3, true);
    (0..3).for_each(|at| world.kill(at));
    for at in 0..3 {
        world.host_mut(at).config.gossip_keys = Some(Keyring::new(key(9)).into());
        world.resume_from_disk(at);
    }
    assert!(world.run_until(secs(60), |world| (0..3).all(|at| has(world, at, 9))).is_some());
}

#[test]
fn a_cluster_without_keys_has_none_to_change() {
    let mut world = TestWorld::durable(8);
    for _ in 0..3 {
        world.start(12);
    }
    world.run_until(secs(20), World::converged);
    let at = leader(&world);
    assert_eq!(order(&mut world, funk_proto::KeyOrder::List).expect("no property is broken"), None);
    let last = outcomes(&world, at).pop();
    assert!(matches!(&last, Some(Outcome::Refused(why)) if why.to_string().contains("not encrypted")), "{last:?}");
    assert_eq!(node(&world, at).inspect().ring().0, 0);
}
