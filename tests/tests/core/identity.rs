//! Who a node is, and what it has applied: of two processes with one identity, and of two histories, one ends.

use std::time::Duration;

use funk_proto::error::Refusal;
use funk_proto::id::{LogIndex, ShardId};
use funk_proto::state::set;
use funk_proto::status::NodeState;
use funk_proto::wire::cluster::{
    Command, DownRecord, Frame, FrameBody, Op, Operation, REASON_TABLE_FULL, Refused, Transfer,
};
use funk_proto::wire::raft::{RaftEntry, RaftKind, RaftMessage};
use funk_proto::{Event, NodeConfig, Participation, Request};
use funk_sim::World;
use funk_tests::world::{TestWorld, follower, leader, name, node, report, voters};
use prost::Message;

const SHARDS: u32 = 24;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A cluster that nobody checks at each step: what these tests do to it, no cluster does to itself.
fn cluster(seed: u64, nodes: usize) -> TestWorld {
    let mut world: TestWorld = World::new(seed).with_durable_disks().with_checkers(Vec::new()).into();
    for _ in 0..nodes {
        world.start(SHARDS);
    }
    let whole = world.run_until(secs(20), |world| world.converged() && voters(world, 0) == nodes);
    whole.unwrap_or_else(|| report(&world));
    world
}

fn refusal(world: &World, at: usize) -> Option<Refusal> {
    world.events(at).iter().find_map(|event| match event {
        Event::Refused(refusal) => Some(refusal.clone()),
        _ => None,
    })
}

/// Whether each shard is served by one of these hosts.
fn is_served(world: &World, by: &[usize]) -> bool {
    (0..SHARDS).all(|shard| by.iter().any(|&at| world.hosts()[at].right(world.now(), ShardId(shard)).is_some()))
}

/// Starts another process with what is on the disk of this host, as it shows that the former processes ended.
fn copy(world: &mut TestWorld, of: usize) -> usize {
    let (disk, config) = (world.hosts()[of].disk.clone(), world.hosts()[of].config.clone());
    let boot = node(world, of).inspect().boot();
    let at = world.add_host(|other| {
        (other.shards, other.name, other.bootstrap) = (SHARDS, config.name, false);
        other.former_boots = vec![boot];
        other.join = (0..3).filter(|&host| host != of).map(|host| World::address_of(0, host, 1)).collect();
    });
    world.host_mut(at).disk = disk;
    world.boot(at);
    at
}

#[test]
fn a_copy_of_a_data_directory_ends_and_names_the_member_that_lives() {
    for nodes in [3, 5] {
        for of_the_leader in [false, true] {
            let mut world = cluster(1, nodes);
            let of = if of_the_leader { leader(&world) } else { follower(&world) };
            let copy = copy(&mut world, of);
            let ended = world.run_until(secs(20), |world| refusal(world, copy).is_some());
            ended.unwrap_or_else(|| report(&world));
            let address = World::address_of(0, of, 2).to_string();
            assert_eq!(refusal(&world, copy), Some(Refusal::IdentityInUse { name: name(of), address }));
            world.kill(copy);
            let all: Vec<usize> = (0..nodes).collect();
            world.run_until(secs(10), |world| is_served(world, &all)).unwrap_or_else(|| report(&world));
            assert!(all.iter().all(|&at| refusal(&world, at).is_none()), "the members go on");
        }
    }
}

/// An entry that fits this host's log, in the present term, already committed.
fn append(world: &World, to: usize, op: Option<Op>) -> FrameBody {
    let node = node(world, to).inspect();
    let (term, last) = (node.term().0, node.last_index());
    let (log_term, index) = (node.term_at(last).expect("its last entry has a term").0, last.0 + 1);
    let operations = op.map(|op| Operation { op: Some(op) }).into_iter().collect();
    let data = Command { operations }.encode_to_vec().into();
    let entries = vec![RaftEntry { term, index, data, ..RaftEntry::default() }];
    let kind = RaftKind::Append.into();
    FrameBody::Raft(RaftMessage {
        kind,
        term,
        log_term,
        index: last.0,
        entries,
        commit: index,
        ..RaftMessage::default()
    })
}

/// Broken disks, our own bugs and forged entries of the leader alike: one member has an entry that no other has.
#[test]
fn a_member_that_has_applied_other_entries_stops_and_says_which() {
    for nodes in [3, 5] {
        for what in ["all shards are its own", "another is dead"] {
            let mut world = cluster(2, nodes);
            let (lead, victim) = (leader(&world), follower(&world));
            let other = (0..nodes).find(|at| ![lead, victim].contains(at)).expect("there are three");
            let name = |at| {
                let of = node(&world, at).inspect();
                (of.id().get(), of.boot().get())
            };
            let ((to, boot), (id, dead)) = (name(victim), name(other));
            let shards = set::encode(&(0..SHARDS).map(ShardId).collect::<Vec<_>>());
            let op = match what {
                "another is dead" => Op::Down(DownRecord { id, boot: dead, stopped: false }),
                _ => Op::Owned(Transfer { seen: u64::MAX >> 2, to, boot, shards }),
            };
            let entry = append(&world, victim, Some(op));
            let index = LogIndex(node(&world, victim).inspect().last_index().0 + 1);
            assert!(world.say_as(lead, victim, Frame::bytes(entry)));
            // The others apply another entry of that number.
            world.propose(lead, "true");
            let ended = world.run_until(secs(2), |world| refusal(world, victim).is_some());
            ended.unwrap_or_else(|| report(&world));
            let Some(Refusal::Diverged { index: told }) = refusal(&world, victim) else { panic!("{what}") };
            assert!(told >= index, "{what}: {told} and {index}");
            world.kill(victim);
            let rest: Vec<usize> = (0..nodes).filter(|&at| at != victim).collect();
            world.run_until(secs(10), |world| is_served(world, &rest)).unwrap_or_else(|| report(&world));
            assert!(rest.iter().all(|&at| refusal(&world, at).is_none()), "{what}");
        }
    }
}

#[test]
fn a_joiner_that_is_told_of_a_full_table_waits_and_is_let_in_later() {
    for times in [1, 200] {
        let mut world = TestWorld::new(3);
        for _ in 0..2 {
            world.start_with(|config| (config.shards, config.auto_join) = (SHARDS, false));
        }
        world.run_until(secs(5), |world| is_served(world, &[0])).unwrap_or_else(|| report(&world));
        let boot = node(&world, 1).inspect().boot().get();
        let full =
            Frame::bytes(FrameBody::JoinRefused(Refused { reason: REASON_TABLE_FULL, boot, ..Refused::default() }));
        for _ in 0..times {
            let mut is_said = false;
            while !is_said {
                world.run(Duration::from_millis(5));
                is_said = world.say_as(0, 1, full.clone());
            }
        }
        assert_eq!(refusal(&world, 1), None);
        let told = world.events(1).iter().filter(|event| matches!(event, Event::JoinFailed { .. })).count();
        assert!((1..=2).contains(&told), "it is told now and then: {told}");
        world.request(0, Request::AddMember(name(1)));
        let is_in = |world: &World| world.status(1).state == NodeState::Operational;
        world.run_until(secs(10), is_in).unwrap_or_else(|| report(&world));
    }
}

/// Whoever has the name and no identity, as an agent of Serf or an observer, has it for as long as it lives.
#[test]
fn a_name_that_a_live_observer_has_is_refused_to_whoever_comes_and_is_free_when_it_is_gone() {
    for newcomer in [Participation::Full, Participation::Learner, Participation::NonMember] {
        let mut world = TestWorld::new(4);
        for _ in 0..3 {
            world.start(SHARDS);
        }
        let holder = world.start_with(|config| config.participation = Participation::NonMember);
        world.run_until(secs(10), |world| world.status(holder).members.len() == 4).unwrap_or_else(|| report(&world));
        let came = |config: &mut NodeConfig| {
            (config.name, config.participation, config.shards) = (name(holder), newcomer, SHARDS);
        };
        let second = world.start_with(came);
        world.run_until(secs(5), |world| refusal(world, second).is_some()).unwrap_or_else(|| report(&world));
        assert_eq!(refusal(&world, second), Some(Refusal::NameTaken(name(holder))), "{newcomer:?}");
        assert_eq!(refusal(&world, holder), None, "who was there first goes on");
        world.kill(second);
        world.kill(holder);
        world.run(secs(5));
        let third = world.start_with(came);
        world.run(secs(5));
        assert_eq!(refusal(&world, third), None, "{newcomer:?}");
    }
}
