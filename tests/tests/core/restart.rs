//! Nodes with data directories: crashes that lose what was not synced, restarts
//! of one, of all, and after a long absence. Every property is checked at every step.

use std::time::Duration;

use bytes::Bytes;
use funk_proto::status::{NodeState, RaftStatus};
use funk_proto::{Event, Request};
use funk_sim::World;
use funk_tests::world::{TestWorld, committed, leader, node, report, voters};

const SHARDS: u32 = 60;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn cluster(seed: u64, nodes: usize) -> TestWorld {
    let mut world = TestWorld::durable(seed);
    for _ in 0..nodes {
        world.start(SHARDS);
    }
    let odd = (nodes - (nodes + 1) % 2).min(5);
    settle(&mut world, |world| voters(world, world.running()[0]) == odd);
    world
}

fn settle(world: &mut TestWorld, also: impl Fn(&World) -> bool) -> Duration {
    let took = world.run_until(secs(20), |world| world.converged() && also(world));
    took.unwrap_or_else(|| report(world))
}

#[test]
fn a_sole_voter_restarts_alone_with_its_map() {
    let mut world = cluster(1, 1);
    world.propose(0, "kept");
    world.run(secs(1));
    let before = world.status(0);
    world.kill(0);
    world.run(secs(1));
    let seen = world.events(0).len();
    world.resume_from_disk(0);
    settle(&mut world, |_| true);
    let after = world.status(0);
    assert_eq!(after.cluster, before.cluster, "the same cluster");
    assert_eq!(after.id, before.id, "the same Raft id");
    assert!(after.epoch > before.epoch && after.term > before.term);
    assert_eq!(committed(&world, 0, seen), [Bytes::from("kept")]);
}

#[test]
fn all_nodes_at_once_come_back_with_everything_acknowledged() {
    for seed in 0..5 {
        let mut world = cluster(100 + seed, 3);
        let before = world.status(0);
        for n in 0..40 {
            world.propose(n % 3, format!("p{n}"));
            world.run(Duration::from_millis(3));
        }
        let seen: Vec<usize> = (0..3).map(|at| world.events(at).len()).collect();
        let acknowledged: Vec<_> = (0..3).map(|at| committed(&world, at, 0)).max_by_key(Vec::len).unwrap();
        assert!(acknowledged.len() > 30, "{}", acknowledged.len());
        (0..3).for_each(|at| world.kill(at));
        world.run(Duration::from_millis(200 * seed));
        (0..3).for_each(|at| world.resume_from_disk(at));
        let took = settle(&mut world, |_| true);
        assert!(took < secs(5), "{took:?}");
        for (at, seen) in seen.into_iter().enumerate() {
            let status = world.status(at);
            assert_eq!(status.cluster, before.cluster);
            assert!(status.epoch >= before.epoch);
            let replayed = committed(&world, at, seen);
            assert_eq!(replayed[..acknowledged.len()], acknowledged[..], "node {at} of seed {seed}");
        }
    }
}

#[test]
fn a_restarted_follower_is_the_same_member_and_gets_shards_again() {
    let mut world = cluster(7, 3);
    let follower = world.running().into_iter().find(|&at| at != leader(&world)).unwrap();
    let before = world.status(follower);
    world.kill(follower);
    world.resume_from_disk(follower);
    settle(&mut world, |world| world.status(follower).shards_owned > 0);
    let after = world.status(follower);
    assert_eq!((after.id, after.cluster), (before.id, before.cluster));
    assert_eq!(world.status(0).members.len(), 3, "no second member of that name");
}

#[test]
fn a_lost_data_directory_makes_a_new_member_that_replaces_the_old() {
    let mut world = cluster(8, 3);
    let victim = world.running().into_iter().find(|&at| at != leader(&world)).unwrap();
    let before = world.status(victim);
    world.kill(victim);
    world.host_mut(victim).disk.replace();
    world.run(secs(1));
    world.restart(victim);
    settle(&mut world, |world| world.status(victim).shards_owned > 0 && voters(world, world.running()[0]) == 3);
    assert_ne!(world.status(victim).id, before.id, "an id that voted never comes back with an empty log");
}

#[test]
fn a_node_that_was_away_past_compaction_catches_up_by_snapshot() {
    let mut world = cluster(9, 3);
    let away = world.running().into_iter().find(|&at| at != leader(&world)).unwrap();
    world.kill(away);
    world.run(secs(1));
    settle(&mut world, |_| true);
    let lead = leader(&world);
    for n in 0..9_500 {
        world.propose(lead, format!("{n}"));
        if n % 50 == 0 {
            world.run(Duration::from_millis(2));
        }
    }
    world.run(secs(1));
    let records = world.hosts()[lead].disk.stable().len();
    assert!(records < 9_000, "{records} records were never compacted");
    world.resume_from_disk(away);
    settle(&mut world, |world| world.status(away).shards_owned > 0);
    assert_eq!(node(&world, away).state_hash(), node(&world, lead).state_hash());
    // And from its own disk again.
    (0..3).for_each(|at| world.kill(at));
    (0..3).for_each(|at| world.resume_from_disk(at));
    settle(&mut world, |_| true);
    let hashes: Vec<_> = (0..3).map(|at| node(&world, at).state_hash()).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

#[test]
fn a_bootstrap_with_a_cluster_in_its_data_directory_resumes_it() {
    let mut world = cluster(10, 3);
    let before = world.status(0);
    world.kill(0);
    world.run(secs(1));
    // The first host's configuration still says bootstrap.
    world.resume_from_disk(0);
    settle(&mut world, |world| world.status(0).state == NodeState::Operational);
    assert_eq!(world.status(0).cluster, before.cluster);
    assert_eq!(world.status(0).members.len(), 3);
}

#[test]
fn an_orderly_stop_keeps_the_members_place_and_costs_no_lease() {
    for leads in [false, true] {
        let mut world = cluster(11, 3);
        let at = world.running().into_iter().find(|&at| (at == leader(&world)) == leads).unwrap();
        let before = world.status(at);
        let epoch = before.epoch;
        world.request(at, Request::Leave);
        let left = |world: &World| world.events(at).contains(&Event::Left);
        assert!(world.run_until(secs(3), left).is_some(), "it is told when it may go");
        world.kill(at);
        settle(&mut world, |_| true);
        let other = world.running()[0];
        let member = world.status(other).members.into_iter().find(|member| member.id == Some(before.id)).unwrap();
        assert_eq!((member.raft, member.shards), (RaftStatus::Voter, 0), "it keeps its vote and has no shard");
        world.run(secs(2));
        assert_eq!(world.status(other).members.len(), 3);
        world.resume_from_disk(at);
        settle(&mut world, |world| world.status(at).shards_owned > 0 && voters(world, world.running()[0]) == 3);
        assert!(world.status(at).id == before.id && world.status(at).epoch > epoch);
    }
}

#[test]
fn all_nodes_stop_in_order_at_once_and_come_back() {
    for nodes in [1, 2, 3, 5] {
        let mut world = cluster(12, nodes);
        let before = world.status(0).cluster;
        (0..nodes).for_each(|at| world.request(at, Request::Leave));
        for at in 0..nodes {
            let left = |world: &World| world.events(at).contains(&Event::Left);
            // With the majority gone, the last ones end when their time for leaving is over.
            world.run_until(secs(3), left);
        }
        (0..nodes).for_each(|at| world.kill(at));
        (0..nodes).for_each(|at| world.resume_from_disk(at));
        settle(&mut world, |world| world.status(0).members.len() == nodes);
        assert_eq!(world.status(0).cluster, before);
    }
}

#[test]
fn restarted_voters_honour_what_their_former_boots_promised() {
    for seed in 0..8 {
        let mut world = TestWorld::durable(300 + seed);
        for _ in 0..3 {
            world.start_with(|config| {
                config.shards = SHARDS;
                // Silence is noticed long before the lease is over, so only promises hold the heirs back.
                config.timing.liveness_retries = 1;
            });
        }
        settle(&mut world, |world| voters(world, world.running()[0]) == 3);
        // A joint change of voters still needs the first one for a while.
        world.run(secs(1));
        let lead = leader(&world);
        let others: Vec<usize> = (0..3).filter(|&at| at != lead).collect();
        world.run(Duration::from_millis(3 * seed));
        world.isolate(lead);
        others.iter().for_each(|&at| world.kill(at));
        others.iter().for_each(|&at| world.resume_from_disk(at));
        // No shard has two servers, checked at every step, until the heirs own all.
        let heirs = |world: &World| others.iter().map(|&at| world.status(at).shards_owned).sum::<u32>() == SHARDS;
        if world.run_until(secs(5), heirs).is_none() {
            let brief = |at: &usize| format!("{:#?}", world.status(*at));
            panic!("seed {seed} at {}: {}", world.now(), others.iter().map(brief).collect::<String>());
        }
        world.run(Duration::from_millis(300));
    }
}
