//! A survivor goes on alone when the majority is lost for good, with data directories.

use std::time::Duration;

use bytes::Bytes;
use funk_proto::event::Outcome;
use funk_proto::id::{Epoch, ShardId};
use funk_proto::limits::GENERATION_INDEXES;
use funk_proto::shards::Place;
use funk_proto::status::{NodeState, RaftStatus, Role};
use funk_proto::{Event, Request};
use funk_sim::World;
use funk_tests::world::{TestWorld, committed, lease_left, node, voters};

const SHARDS: u32 = 60;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Five nodes, with proposals of the application in the log.
fn cluster(seed: u64) -> TestWorld {
    let mut world = TestWorld::durable(seed);
    for _ in 0..5 {
        world.start(SHARDS);
    }
    let up = world.run_until(secs(20), |world| world.converged() && voters(world, 0) == 5);
    assert!(up.is_some(), "five nodes come up");
    for n in 0..20 {
        world.propose(n % 5, format!("p{n}"));
    }
    world.run(secs(1));
    world
}

/// How the operation that a host was asked for last ended.
fn outcome(world: &World, at: usize) -> Option<Outcome> {
    world.events(at).iter().rev().find_map(|event| match event {
        Event::RequestDone { outcome, .. } if !matches!(outcome, Outcome::Committed(_)) => Some(outcome.clone()),
        _ => None,
    })
}

fn refusal(world: &World, at: usize) -> String {
    match outcome(world, at) {
        Some(Outcome::Refused(why)) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

fn recovered(world: &World, at: usize) -> bool {
    world.events(at).iter().any(|event| matches!(event, Event::Recovered { .. }))
}

/// The hosts that serve this shard now, whatever cluster they are in.
fn servers(world: &World, shard: u32) -> Vec<(usize, Epoch)> {
    let serves = |at: usize| {
        lease_left(world, at)?;
        let routes = node(world, at).routes();
        match routes.place(ShardId(shard)) {
            Place::Here(epoch) => Some((at, epoch)),
            _ => None,
        }
    };
    world.running().into_iter().filter_map(serves).collect()
}

/// Lets time pass; at each step at most one host serves a shard, in whichever generation it is.
fn run_alone(world: &mut TestWorld, limit: Duration, done: impl Fn(&World) -> bool) -> bool {
    let took = world.run_until(limit, |world| {
        for shard in 0..SHARDS {
            let servers = servers(world, shard);
            assert!(servers.len() <= 1, "shard {shard} is served by {servers:?} at {}", world.now());
        }
        done(world)
    });
    took.is_some()
}

fn serves_all(world: &World, at: usize) -> bool {
    let status = world.status(at);
    status.state == NodeState::Operational && status.shards_owned == SHARDS && lease_left(world, at).is_some()
}

/// Ends all but these hosts, for good; the others see that nobody leads any more.
fn lose_all_but(world: &mut TestWorld, kept: &[usize]) {
    let lost: Vec<usize> = world.running().into_iter().filter(|at| !kept.contains(at)).collect();
    lost.into_iter().for_each(|at| world.kill(at));
    let unled = world.run_until(secs(5), |world| kept.iter().all(|&at| world.status(at).leader.is_none()));
    assert!(unled.is_some(), "nobody leads without a majority");
}

fn has_heard(world: &World, at: usize, words: &str) -> bool {
    world.events(at).iter().any(|event| matches!(event, Event::JoinFailed { reason, .. } if reason.contains(words)))
}

#[test]
fn a_survivor_serves_all_shards_under_later_epochs_and_has_what_was_acknowledged() {
    for seed in 0..5 {
        let mut world = cluster(seed);
        let before = world.status(0);
        lose_all_but(&mut world, &[0, 4]);
        world.run(Duration::from_millis(50 * seed));
        world.request(0, Request::Recover);
        let served = run_alone(&mut world, secs(10), |world| serves_all(world, 0));
        assert!(served, "seed {seed}: {:?} {:?}", world.status(0), world.events(0).last());
        let after = world.status(0);
        assert_eq!(outcome(&world, 0), Some(Outcome::Done));
        assert_eq!((before.generation, after.generation), (1, 2));
        assert!(after.cluster != before.cluster && after.id == before.id && after.created_ns == before.created_ns);
        let members = after.members.iter().filter(|member| member.raft != RaftStatus::None);
        assert_eq!((after.role, voters(&world, 0), members.count()), (Role::Leader, 1, 1));
        for shard in 0..SHARDS {
            let [(0, epoch)] = servers(&world, shard)[..] else { panic!("shard {shard}") };
            assert!(epoch.0 > GENERATION_INDEXES, "{epoch}");
        }
        assert_eq!(committed(&world, 0, 0).len(), 20);
        world.propose(0, "later");
        world.run(secs(3));
        assert_eq!(committed(&world, 0, 0).last(), Some(&Bytes::from("later")));
        assert!(has_heard(&world, 4, "generation 2"), "the other survivor is told: {:?}", world.events(4).last());
        assert_eq!(world.status(4).state, NodeState::Voting);
    }
}

#[test]
fn others_join_the_new_generation_with_empty_data_directories() {
    let mut world = cluster(11);
    lose_all_but(&mut world, &[0]);
    world.request(0, Request::Recover);
    assert!(run_alone(&mut world, secs(10), |world| serves_all(world, 0)));
    for at in 1..5 {
        world.host_mut(at).disk.replace();
        world.restart(at);
    }
    let up = world.run_until(secs(20), |world| world.converged() && voters(world, 0) == 5);
    assert!(up.is_some(), "{:#?}", world.status(0));
    assert!(world.running().into_iter().all(|at| world.status(at).generation == 2));
    // The survivor is nothing special any more.
    world.kill(0);
    let on = world.run_until(secs(20), |world| world.converged());
    assert!(on.is_some_and(|took| took < secs(2)), "{on:?}");
}

#[test]
fn a_cluster_that_has_or_can_have_a_leader_is_not_recovered() {
    let mut world = cluster(21);
    let leader = world.running().into_iter().find(|&at| world.status(at).role == Role::Leader).unwrap();
    let follower = world.running().into_iter().find(|&at| at != leader).unwrap();
    for at in [leader, follower] {
        world.request(at, Request::Recover);
        assert!(refusal(&world, at).contains("has a leader"), "{}", refusal(&world, at));
    }
    let before = world.status(follower).cluster;
    // Nobody leads when it is asked; somebody does before the look round ends.
    world.kill(leader);
    world.run(Duration::from_millis(85));
    world.request(follower, Request::Recover);
    world.request(follower, Request::Recover);
    assert!(refusal(&world, follower).contains("under way") || refusal(&world, follower).contains("has a leader"));
    world.run(secs(5));
    assert!(refusal(&world, follower).contains("has a leader"), "{}", refusal(&world, follower));
    assert!(!recovered(&world, follower));
    assert_eq!(world.status(follower).cluster, before);
}

#[test]
fn a_majority_that_answers_without_a_leader_is_no_loss() {
    let mut world = cluster(22);
    // Disks hang: no vote becomes stable, so nobody is elected, but all answer.
    let leader = world.running().into_iter().find(|&at| world.status(at).role == Role::Leader).unwrap();
    let kept: Vec<usize> = world.running().into_iter().filter(|&at| at != leader).collect();
    kept.iter().for_each(|&at| world.hang_disk(at));
    world.kill(leader);
    world.run(secs(1));
    world.request(kept[0], Request::Recover);
    world.run(secs(5));
    assert!(refusal(&world, kept[0]).contains("4 of 5 voters answer"), "{}", refusal(&world, kept[0]));
}

#[test]
fn a_majority_that_was_not_lost_goes_on_below_the_epochs_of_the_new_generation() {
    let mut world = cluster(31);
    // The operator takes a cut for a loss.
    for one in [3, 4] {
        (0..3).for_each(|other| world.cut(other, one));
    }
    let alone = world.run_until(secs(20), |world| {
        let owned: u32 = (0..3).map(|at| world.status(at).shards_owned).sum();
        owned == SHARDS && (0..3).all(|at| world.status(at).state == NodeState::Operational)
    });
    assert!(alone.is_some(), "the majority goes on");
    assert!(world.run_until(secs(5), |world| world.status(3).leader.is_none()).is_some());
    world.request(3, Request::Recover);
    assert!(world.run_until(secs(10), |world| serves_all(world, 3)).is_some());
    world.mend_all();
    world.run(secs(10));
    let (old, new) = (world.status(0).cluster, world.status(3).cluster);
    assert_ne!(old, new);
    let majority = (0..3).map(|at| world.status(at)).collect::<Vec<_>>();
    assert!(majority.iter().all(|status| status.cluster == old && status.state == NodeState::Operational));
    for shard in 0..SHARDS {
        let servers = servers(&world, shard);
        let of = |at: &[usize]| servers.iter().filter(|(by, _)| at.contains(by)).map(|(_, epoch)| epoch.0).max();
        let (Some(before), Some(after)) = (of(&[0, 1, 2, 4]), of(&[3])) else { panic!("shard {shard}: {servers:?}") };
        assert!(before < GENERATION_INDEXES && after > GENERATION_INDEXES, "shard {shard}: {servers:?}");
    }
    assert!((0..3).any(|at| has_heard(&world, at, "generation 2")), "those who went on are told");
}

#[test]
fn a_crash_during_a_recovery_leaves_one_generation_or_the_other() {
    let (mut former, mut later) = (0, 0);
    for step in 0..16 {
        let mut world = cluster(41);
        let before = world.status(0).cluster;
        lose_all_but(&mut world, &[0]);
        world.run(secs(1));
        world.request(0, Request::Recover);
        // The look round takes 3 s and the longest promise; the interesting moments are those at its end.
        world.run(Duration::from_micros(3_612_000 + 100 * step));
        world.kill(0);
        let seen = world.events(0).len();
        world.resume_from_disk(0);
        world.run(secs(2));
        let after = world.status(0);
        if after.generation == 1 {
            assert_eq!(after.cluster, before, "step {step}");
            assert_ne!(after.state, NodeState::Operational, "step {step}");
            former += 1;
        } else {
            assert!(
                serves_all(&world, 0) && after.cluster != before && after.generation == 2,
                "step {step}: {after:?}"
            );
            later += 1;
            assert!(committed(&world, 0, seen).is_empty(), "they are in the snapshot");
        }
    }
    assert!(former > 0 && later > 0, "{former} and {later}: the crashes are on one side of the moment only");
}
