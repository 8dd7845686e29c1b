use std::time::Duration;

use super::network::{Net, id, ids};
use crate::consensus::{Consensus, ConsensusConfig, ConsensusOutput, RaftRole};
use crate::rng::Seed;
use crate::time::Timestamp;
use crate::wire::raft::{RaftKind, RaftMessage, SnapshotChunk, SnapshotMeta};

fn sent(net: &Net, n: u64, kind: RaftKind) -> usize {
    net.peers[&n].sent.iter().filter(|(_, message)| message.kind() == kind).count()
}

#[test]
fn a_bootstrap_does_nothing_before_its_first_write_is_stable() {
    let config = ConsensusConfig { id: id(1), bootstrap: Some("state".into()), kept_lease: Duration::ZERO };
    let mut machine = Consensus::new(config, Seed::from_u64(1), Timestamp::ZERO);
    let Some(ConsensusOutput::Persist(first)) = machine.poll_output() else { panic!("a write comes first") };
    for n in 1..100 {
        machine.handle_timeout(Timestamp::from_millis(n * 100));
        while let Some(output) = machine.poll_output() {
            assert!(matches!(output, ConsensusOutput::Role { role: RaftRole::Follower, .. }), "{output:?}");
        }
    }
    assert_eq!(machine.role(), RaftRole::Follower);
    machine.handle_persisted(Timestamp::from_millis(20_000), first.token);
    while machine.poll_output().is_some() {}
    assert_eq!(machine.role(), RaftRole::Leader);
}

#[test]
fn a_follower_answers_no_append_before_it_is_stable() {
    let mut net = Net::voters(3, 21);
    net.converge(1..=3);
    net.stuck.insert(2);
    let before = sent(&net, 2, RaftKind::AppendResponse);
    net.propose("x");
    net.propose("y");
    net.run(Duration::from_millis(200));
    assert_eq!(sent(&net, 2, RaftKind::AppendResponse), before);
    assert_eq!(net.peers[&1].state, ["x", "y"], "the others are a quorum");
    assert!(net.peers[&2].state.is_empty(), "nothing is applied that is not stable here");
    net.release(2);
    net.converge(1..=3);
    assert!(sent(&net, 2, RaftKind::AppendResponse) > before);
}

#[test]
fn no_vote_is_given_or_asked_for_before_it_is_stable() {
    let mut net = Net::voters(3, 22);
    net.converge(1..=3);
    net.dead.insert(1);
    net.stuck.extend([2, 3]);
    let now = net.now;
    for n in [2, 3] {
        net.machine(n).forget_leader(now, &ids([2, 3]));
        net.drain(n);
    }
    net.run(Duration::from_millis(500));
    assert_eq!(sent(&net, 2, RaftKind::Vote) + sent(&net, 3, RaftKind::Vote), 0, "a candidate's vote for itself");
    net.release(2);
    net.release(3);
    net.until("a candidate", |net| sent(net, 2, RaftKind::Vote) + sent(net, 3, RaftKind::Vote) > 0);
    let (candidate, voter) = if sent(&net, 2, RaftKind::Vote) > 0 { (2, 3) } else { (3, 2) };
    net.stuck.insert(voter);
    let given = sent(&net, voter, RaftKind::VoteResponse);
    net.run(Duration::from_millis(100));
    assert_eq!(sent(&net, voter, RaftKind::VoteResponse), given);
    assert_ne!(net.machine(candidate).role(), RaftRole::Leader);
    net.release(voter);
    net.until("a leader", |net| net.leader().is_some());
}

#[test]
fn a_new_leader_of_one_sends_nothing_before_its_vote_is_stable() {
    let mut net = Net::voters(2, 23);
    net.change([1], [2]);
    net.converge([1, 2]);
    let (now, term) = (net.now, net.machine(1).term().0);
    net.stuck.insert(1);
    // The answer of a newer term deposes it; as sole voter it wins the next one by its own vote.
    let newer = RaftMessage { kind: RaftKind::AppendResponse.into(), term: term + 1, ..RaftMessage::default() };
    net.machine(1).handle_message(now, id(2), newer).unwrap();
    net.drain(1);
    assert_eq!(net.machine(1).role(), RaftRole::Follower);
    net.until("the new term to be held", |net| net.peers[&1].held.len() == 1);
    net.release(1);
    net.stuck.insert(1);
    assert_eq!(net.machine(1).role(), RaftRole::Leader);
    let before = sent(&net, 1, RaftKind::Append);
    net.propose("x");
    net.run(Duration::from_millis(100));
    assert_eq!(sent(&net, 1, RaftKind::Append), before);
    net.release(1);
    net.converge([1, 2]);
}

#[test]
fn a_vote_that_was_never_asked_for_makes_no_leader() {
    let mut net = Net::voters(3, 25);
    net.converge(1..=3);
    net.dead.insert(1);
    let now = net.now;
    for n in [2, 3] {
        net.machine(n).forget_leader(now, &ids([2, 3]));
        net.drain(n);
    }
    net.stuck.insert(2);
    net.until("a candidate", |net| net.peers[&2].machine.role() == RaftRole::Candidate);
    let (now, term) = (net.now, net.machine(2).term().0);
    let vote = RaftMessage { kind: RaftKind::VoteResponse.into(), term, ..RaftMessage::default() };
    net.machine(2).handle_message(now, id(3), vote).unwrap();
    net.drain(2);
    assert_eq!(net.machine(2).role(), RaftRole::Candidate);
    net.release(2);
    net.until("a leader", |net| net.leader().is_some());
}

#[test]
fn nobody_campaigns_over_a_snapshot_that_is_not_stable() {
    let mut machine = Consensus::new(
        ConsensusConfig { id: id(2), bootstrap: None, kept_lease: Duration::ZERO },
        Seed::from_u64(1),
        Timestamp::ZERO,
    );
    let meta = SnapshotMeta { index: 9, term: 1, voters: vec![1, 2, 3], ..SnapshotMeta::default() };
    let chunk = SnapshotChunk { meta: Some(meta), offset: 0, data: "s".into(), last: true };
    let kind = RaftKind::Snapshot.into();
    let message = RaftMessage { kind, term: 1, snapshot: Some(chunk), ..RaftMessage::default() };
    machine.handle_message(Timestamp::ZERO, id(1), message).unwrap();
    let mut tokens = Vec::new();
    for round in 1..200 {
        while let Some(output) = machine.poll_output() {
            match output {
                ConsensusOutput::Persist(persist) => tokens.push(persist.token),
                ConsensusOutput::Send { .. } | ConsensusOutput::InstallSnapshot { .. } => panic!("{output:?}"),
                _ => {}
            }
        }
        let now = Timestamp::from_millis(round * 50);
        machine.forget_leader(now, &ids([2]));
        machine.handle_timeout(now);
        assert_eq!(machine.role(), RaftRole::Follower);
    }
    machine.handle_persisted(Timestamp::from_millis(10_000), *tokens.last().unwrap());
    machine.handle_timeout(Timestamp::from_millis(11_000));
    assert_eq!(machine.role(), RaftRole::PreCandidate);
}

#[test]
fn a_snapshot_is_installed_when_it_is_stable() {
    let mut net = Net::new(2, 24, &["a".into()]);
    net.until("a leader", |net| net.leader() == Some(1));
    let now = net.now;
    net.machine(1).change_members(now, &ids([1]), &ids([2])).unwrap();
    net.drain(1);
    net.until("the snapshot", |net| sent(net, 1, RaftKind::Snapshot) > 0);
    net.stuck.insert(2);
    let answers = sent(&net, 2, RaftKind::AppendResponse);
    net.propose("b");
    net.run(Duration::from_millis(300));
    assert_eq!(net.peers[&2].installed, 0);
    assert_eq!(sent(&net, 2, RaftKind::AppendResponse), answers);
    net.release(2);
    net.converge([1, 2]);
    assert_eq!(net.peers[&2].installed, 1);
}
