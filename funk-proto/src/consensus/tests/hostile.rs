use proptest::prelude::*;

use super::network::{Net, id};
use crate::consensus::Consensus;
use crate::error::Misbehaviour;
use crate::id::{LogIndex, RaftId, Term};
use crate::limits::PROPOSAL_BYTES_MAX;
use crate::time::Timestamp;
use crate::wire::raft::{RaftEntry, RaftEntryKind, RaftKind, RaftMessage, SnapshotChunk, SnapshotMeta};

/// Numbers near those that a young cluster uses, and some that none does.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..20u64, 1 => any::<u64>(), 1 => Just(u64::MAX), 1 => (1u64 << 61)..(1 << 62)]
}

fn kind() -> impl Strategy<Value = i32> {
    prop_oneof![12 => 1..10i32, 1 => any::<i32>()]
}

fn entries() -> impl Strategy<Value = Vec<RaftEntry>> {
    let random = (0..3i32, number(), number(), prop::collection::vec(any::<u8>(), 0..12))
        .prop_map(|(kind, term, index, data)| RaftEntry { kind, term, index, data: data.into() });
    let run = (1..20u64, 1..6u64, prop::collection::vec((0..2i32, prop::collection::vec(any::<u8>(), 0..8)), 0..5));
    let sound = run.prop_map(|(start, term, contents)| {
        let entry = |(index, (kind, data)): (u64, (i32, Vec<u8>))| RaftEntry { kind, term, index, data: data.into() };
        (start..).zip(contents).map(entry).collect()
    });
    prop_oneof![prop::collection::vec(random, 0..3), sound]
}

fn chunk() -> impl Strategy<Value = SnapshotChunk> {
    let members = || prop::collection::vec(0..6u64, 0..4);
    let meta = (number(), number(), members(), members(), members(), members(), any::<bool>());
    let sound = (1..20u64, 1..6u64, 1..5u64, 3..7u64);
    let meta = prop_oneof![
        meta.prop_map(|(index, term, voters, learners, voters_outgoing, learners_next, auto_leave)| SnapshotMeta {
            index,
            term,
            voters,
            learners,
            voters_outgoing,
            learners_next,
            auto_leave
        }),
        sound.prop_map(|(index, term, voters, learners)| SnapshotMeta {
            index,
            term,
            voters: (1..=voters).collect(),
            learners: (voters + 1..=learners).collect(),
            ..SnapshotMeta::default()
        }),
    ];
    (prop::option::weighted(0.95, meta), prop_oneof![4 => Just(0), 1 => number()], any::<bool>())
        .prop_map(|(meta, offset, last)| SnapshotChunk { meta, offset, data: vec![0; 8].into(), last })
}

fn message() -> impl Strategy<Value = RaftMessage> {
    let numbers = (number(), number(), number(), number(), number(), number());
    let rest = (entries(), any::<bool>(), any::<bool>(), prop::option::of(chunk()));
    (kind(), numbers, rest).prop_map(
        |(kind, (term, log_term, index, commit, commit_term, reject_hint), (entries, reject, transfer, snapshot))| {
            let mut message = RaftMessage {
                kind,
                term,
                log_term,
                index,
                commit,
                commit_term,
                reject,
                reject_hint,
                transfer,
                ..RaftMessage::default()
            };
            if kind == RaftKind::Append as i32 {
                // Often the entry before fits the first one after.
                if let Some(first) = entries.first().filter(|_| reject) {
                    message.index = first.index.saturating_sub(1);
                }
                message.entries = entries;
            }
            if kind == RaftKind::Snapshot as i32 || kind == RaftKind::SnapshotAck as i32 {
                message.snapshot = snapshot;
            }
            message
        },
    )
}

#[derive(Clone, Debug)]
enum Act {
    Message(u64, Box<RaftMessage>),
    Heartbeat(u64, u64, u64),
    Ack(u64, u64),
    Forget,
    Timeout,
    Persisted,
    Unreachable(u64),
    SnapshotFailed(u64),
    Propose,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        20 => (1..7u64, message()).prop_map(|(from, message)| Act::Message(from, Box::new(message))),
        3 => (1..7u64, number(), number()).prop_map(|(from, term, commit)| Act::Heartbeat(from, term, commit)),
        1 => (1..7u64, number()).prop_map(|(from, term)| Act::Ack(from, term)),
        1 => Just(Act::Forget),
        1 => Just(Act::Timeout),
        4 => Just(Act::Persisted),
        1 => (1..7u64).prop_map(Act::Unreachable),
        1 => (1..7u64).prop_map(Act::SnapshotFailed),
        2 => Just(Act::Propose),
    ]
}

/// Does it to one node of the cluster alone; writes finish when told.
fn attack(net: &mut Net, victim: u64, acts: Vec<Act>) {
    for act in acts {
        let now = net.now;
        let machine: &mut Consensus = net.machine(victim);
        match act {
            Act::Message(from, mut message) => {
                // What is near zero is meant near the victim's own term.
                if message.term < 20 {
                    message.term = (machine.term().0 + message.term % 4).saturating_sub(1);
                }
                let _ = machine.handle_message(now, id(from), *message);
            }
            Act::Heartbeat(from, term, commit) => {
                let _ = machine.handle_heartbeat(now, id(from), Term(term), LogIndex(commit));
            }
            Act::Ack(from, term) => machine.handle_heartbeat_ack(now, id(from), Term(term)),
            Act::Forget => machine.forget_leader(now, &[id(victim)].into()),
            Act::Timeout => {
                net.now = machine.poll_timeout().unwrap_or(now).max(now);
                let now = net.now;
                net.machine(victim).handle_timeout(now);
            }
            Act::Persisted => {
                for token in std::mem::take(&mut net.peers.get_mut(&victim).unwrap().held) {
                    net.machine(victim).handle_persisted(now, token);
                }
            }
            Act::Unreachable(peer) => machine.handle_unreachable(id(peer)),
            Act::SnapshotFailed(peer) => machine.handle_snapshot_failed(id(peer)),
            Act::Propose => {
                let _ = machine.propose(now, "x".into());
            }
        }
        hold(net, victim);
    }
}

/// Takes the victim's outputs and keeps its tokens back.
fn hold(net: &mut Net, victim: u64) {
    use crate::consensus::ConsensusOutput;
    loop {
        let now = net.now;
        let peer = net.peers.get_mut(&victim).unwrap();
        match peer.machine.poll_output() {
            None => return,
            Some(ConsensusOutput::Persist(persist)) => peer.held.push(persist.token),
            Some(ConsensusOutput::SnapshotWanted) => {
                let index = peer.machine.applied();
                peer.machine.provide_snapshot(now, index, "state".into());
            }
            Some(output) => peer.note_applied(&output),
        }
    }
}

/// The victims: a sole leader, an empty node, a leader, a follower, a learner,
/// one that campaigns, one with writes in flight.
fn victims(state: u8) -> (Net, u64) {
    match state {
        0 => (Net::voters(1, 31), 1),
        1 => (Net::new(2, 32, &[]), 2),
        2 => (Net::voters(3, 33), 1),
        3 => (Net::voters(3, 34), 2),
        4 => {
            let mut net = Net::voters(3, 35);
            net.change([1, 2], [3]);
            (net, 3)
        }
        5 => {
            let mut net = Net::voters(3, 36);
            let now = net.now;
            net.machine(2).forget_leader(now, &[id(2)].into());
            (net, 2)
        }
        _ => {
            let mut net = Net::voters(3, 37);
            net.stuck.insert(2);
            net.propose("x");
            net.run(std::time::Duration::from_millis(5));
            (net, 2)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_peer_sends_makes_a_node_panic(state in 0..7u8, acts in prop::collection::vec(act(), 1..40)) {
        let (mut net, victim) = victims(state);
        attack(&mut net, victim, acts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn strangers_cannot_stop_a_cluster(messages in prop::collection::vec((1..4u64, message()), 1..60)) {
        let mut net = Net::voters(3, 41);
        for (to, mut message) in messages {
            if message.term < 20 {
                message.term += net.machine(to).term().0;
            }
            let now = net.now;
            let _ = net.machine(to).handle_message(now, id(99), message);
            net.drain(to);
        }
        net.until("a leader", |net| net.leader().is_some());
        net.propose("still here");
        net.converge(1..=3);
    }
}

#[test]
fn what_panics_raft_is_refused() {
    let mut net = Net::voters(3, 42);
    net.converge(1..=3);
    let (now, term) = (net.now, net.machine(1).term().0);
    let last = net.machine(2).last_index().0;
    let append = |index, log_term| RaftMessage {
        kind: RaftKind::Append.into(),
        term,
        index,
        log_term,
        ..RaftMessage::default()
    };
    let entry = |index| RaftEntry { kind: 0, term, index, data: "x".into() };
    let mut refused = |from: RaftId, message: RaftMessage| {
        let result = net.machine(2).handle_message(now, from, message);
        assert!(matches!(result, Err(Misbehaviour::Raft(_))), "{result:?}");
    };
    refused(id(1), append(last + 5, 0));
    refused(id(1), RaftMessage { entries: vec![entry(last + 2)], ..append(last, term) });
    refused(id(1), RaftMessage { entries: vec![entry(last + 1), entry(last + 1)], ..append(last, term) });
    refused(id(3), append(last, term));
    refused(id(99), RaftMessage { term: term + 1, ..append(last, term) });
    refused(id(2), append(last, term));
    refused(id(1), RaftMessage { kind: 77, ..append(last, term) });
    refused(id(3), RaftMessage { kind: RaftKind::TimeoutNow.into(), term, ..RaftMessage::default() });
    let empty = RaftMessage { entries: vec![entry(1)], ..append(0, 0) };
    net.add(7, None);
    assert!(net.machine(7).handle_message(now, id(1), empty).is_err(), "no log from its first entry");
}

/// A decoder that recursed into a group, or believed a length, would use up the stack or the memory of its thread.
#[test]
fn a_change_of_voters_that_does_not_decode_changes_nothing() {
    /// The start of a group that no change has.
    const GROUP: u8 = 15 << 3 | 3;
    /// The start of a group where the list of single changes is.
    const CHANGES_AS_GROUP: u8 = 2 << 3 | 3;
    /// The list of single changes, as messages.
    const CHANGES: u8 = 2 << 3 | 2;
    nothing_changes(vec![GROUP; PROPOSAL_BYTES_MAX]);
    nothing_changes(vec![CHANGES_AS_GROUP; PROPOSAL_BYTES_MAX]);
    nothing_changes(vec![0x80; PROPOSAL_BYTES_MAX]);
    nothing_changes([CHANGES, 0xff, 0xff, 0xff, 0xff, 0x07].to_vec());
    nothing_changes([CHANGES, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f].to_vec());
}

/// A follower commits a change of voters with this data.
fn nothing_changes(data: Vec<u8>) {
    let mut net = Net::voters(3, 44);
    net.converge(1..=3);
    let leader = net.leader().unwrap();
    let follower = if leader == 2 { 3 } else { 2 };
    let (now, term) = (net.now, net.machine(follower).term().0);
    let last = net.machine(follower).last_index().0;
    let entry = RaftEntry { kind: RaftEntryKind::ConfChange.into(), term, index: last + 1, data: data.into() };
    let append = RaftMessage {
        kind: RaftKind::Append.into(),
        term,
        index: last,
        log_term: term,
        commit: last + 1,
        entries: vec![entry],
        ..RaftMessage::default()
    };
    net.machine(follower).handle_message(now, id(leader), append).unwrap();
    net.drain(follower);
    net.until("the change to be applied", |net| net.peers[&follower].machine.applied() == LogIndex(last + 1));
    assert_eq!(net.machine(follower).voters(), [1, 2, 3].map(id).into());
}

#[test]
fn a_configuration_that_contradicts_itself_is_refused() {
    let sound = SnapshotMeta { index: 5, term: 1, voters: vec![1, 2], learners: vec![3], ..SnapshotMeta::default() };
    let unsound = [
        SnapshotMeta { voters: vec![], ..sound.clone() },
        SnapshotMeta { voters: vec![1, 1, 2], ..sound.clone() },
        SnapshotMeta { voters: vec![0, 2], ..sound.clone() },
        SnapshotMeta { learners: vec![2], ..sound.clone() },
        SnapshotMeta { learners_next: vec![4], ..sound.clone() },
        SnapshotMeta { voters_outgoing: vec![3, 2], ..sound.clone() },
        SnapshotMeta { voters_outgoing: vec![1], learners_next: vec![1], auto_leave: true, ..sound.clone() },
        SnapshotMeta { auto_leave: true, ..sound.clone() },
        SnapshotMeta { term: 9, ..sound.clone() },
        SnapshotMeta { voters: (1..1000).collect(), ..sound.clone() },
    ];
    let mut net = Net::new(2, 43, &[]);
    let mut offer = |meta| {
        let chunk = SnapshotChunk { meta: Some(meta), offset: 0, data: "s".into(), last: true };
        let kind = RaftKind::Snapshot.into();
        let message = RaftMessage { kind, term: 2, snapshot: Some(chunk), ..RaftMessage::default() };
        let result = net.machine(2).handle_message(Timestamp::ZERO, id(1), message);
        net.drain(2);
        result
    };
    for meta in unsound {
        assert!(offer(meta.clone()).is_err(), "{meta:?}");
    }
    let joint = SnapshotMeta { voters_outgoing: vec![1, 4], learners_next: vec![4], auto_leave: true, ..sound };
    offer(joint).unwrap();
    assert!(net.machine(2).is_joint());
}
