use bytes::Bytes;

use super::network::{Net, id, ids};
use crate::consensus::{ProposeRefused, RaftRole};
use crate::limits::{PROPOSAL_BYTES_MAX, SNAPSHOT_AFTER_ENTRIES, SNAPSHOT_CHUNK_BYTES};
use crate::wire::raft::RaftKind;
use std::time::Duration;

#[test]
fn a_sole_voter_leads_at_once_and_applies_its_proposals() {
    let mut net = Net::new(1, 1, &[]);
    net.until("a leader", |net| net.leader() == Some(1));
    assert!(net.now.as_nanos() < 100_000_000, "no fallback tick was needed");
    let index = net.propose("a");
    net.converge([1]);
    assert_eq!(net.machine(1).applied(), index);
    assert!(net.machine(1).own_term_start().unwrap() < index);
    assert_eq!(net.machine(1).poll_timeout(), None, "an idle sole voter never wakes");
}

#[test]
fn an_empty_node_waits_and_joins_by_snapshot() {
    let mut net = Net::new(2, 2, &[Bytes::from_static(b"first")]);
    net.until("a leader", |net| net.leader() == Some(1));
    net.run(Duration::from_secs(5));
    assert_eq!(net.machine(2).role(), RaftRole::Follower);
    assert_eq!(net.machine(2).poll_timeout(), None);
    net.propose("second");
    net.change([1], [2]);
    net.propose("third");
    net.converge([1, 2]);
    assert_eq!(net.peers[&2].installed, 1);
    assert_eq!(net.peers[&2].state, ["first", "second", "third"]);
}

#[test]
fn joint_changes_take_one_voter_to_three_and_five_and_back() {
    let mut net = Net::new(5, 3, &[]);
    net.until("a leader", |net| net.leader() == Some(1));
    net.change([1], 2..=5);
    net.change(1..=3, 4..=5);
    net.propose("x");
    net.change(1..=5, []);
    net.propose("y");
    net.converge(1..=5);
    net.change([1, 2, 3], [4, 5]);
    net.change([1], [2, 3, 4, 5]);
    net.propose("z");
    net.converge(1..=5);
}

#[test]
fn a_change_that_removes_the_leader_or_all_voters_is_refused() {
    let mut net = Net::voters(3, 4);
    let now = net.now;
    let leader = net.machine(1);
    let refused = |result| matches!(result, Err(ProposeRefused::Invalid(_)));
    assert!(refused(leader.change_members(now, &ids([2, 3]), &ids([]))));
    assert!(refused(leader.change_members(now, &ids([]), &ids([1, 2, 3]))));
    assert!(refused(leader.change_members(now, &ids([1, 2]), &ids([2, 3]))));
    assert_eq!(leader.change_members(now, &ids([1, 2, 3]), &ids([])), Err(ProposeRefused::Unchanged));
    leader.change_members(now, &ids([1]), &ids([])).unwrap();
    assert_eq!(leader.change_members(now, &ids([1, 2]), &ids([])), Err(ProposeRefused::ChangePending));
    assert_eq!(net.machine(2).change_members(now, &ids([2]), &ids([])), Err(ProposeRefused::NotLeader));
}

#[test]
fn proposals_keep_their_order_and_reach_all() {
    let mut net = Net::voters(5, 5);
    for n in 0..2_000u32 {
        net.propose(n.to_be_bytes().to_vec());
    }
    net.converge(1..=5);
    let expected: Vec<Vec<u8>> = (0..2_000u32).map(|n| n.to_be_bytes().to_vec()).collect();
    assert!(net.peers[&4].state == expected);
}

#[test]
fn proposals_of_the_largest_size_pass_and_larger_ones_do_not() {
    let mut net = Net::voters(3, 6);
    for _ in 0..5 {
        net.propose(vec![7; PROPOSAL_BYTES_MAX]);
    }
    net.converge(1..=3);
    let (now, bytes) = (net.now, PROPOSAL_BYTES_MAX + 1);
    let refused = net.machine(1).propose(now, vec![0; bytes].into());
    assert_eq!(refused, Err(ProposeRefused::TooLarge { bytes }));
}

#[test]
fn a_log_that_never_gets_its_snapshot_refuses_before_it_is_too_large() {
    let mut net = Net::voters(1, 6);
    let now = net.now;
    let refused = (0..1_000).find_map(|_| net.machine(1).propose(now, vec![0; PROPOSAL_BYTES_MAX].into()).err());
    assert_eq!(refused, Some(ProposeRefused::Busy));
}

#[test]
fn after_compaction_a_new_learner_and_a_lagging_voter_end_with_the_same_state() {
    let mut net = Net::voters(3, 7);
    net.dead.insert(3);
    for n in 0..SNAPSHOT_AFTER_ENTRIES + 2_000 {
        net.propose(n.to_be_bytes().to_vec());
        if n % 64 == 0 {
            net.converge([1, 2]);
        }
    }
    net.converge([1, 2]);
    let before = net.peers[&3].installed;
    net.machine(1).handle_unreachable(id(3));
    net.dead.remove(&3);
    net.add(4, None);
    net.change([1, 2, 3], [4]);
    net.propose("last");
    net.converge([1, 2, 3, 4]);
    assert_eq!(net.peers[&3].installed, before + 1, "the log no longer reached back");
}

#[test]
fn a_large_snapshot_travels_in_chunks_and_survives_a_lost_connection() {
    let state: Vec<Bytes> = (0..20u8).map(|n| vec![n; SNAPSHOT_CHUNK_BYTES - 5].into()).collect();
    let mut net = Net::new(2, 8, &state);
    net.until("a leader", |net| net.leader() == Some(1));
    let now = net.now;
    net.machine(1).change_members(now, &ids([1]), &ids([2])).unwrap();
    net.drain(1);
    let chunks = |net: &Net| net.peers[&1].sent.iter().filter(|(_, m)| m.kind() == RaftKind::Snapshot).count();
    net.until("some chunks", |net| chunks(net) > 9);
    net.dead.insert(2);
    net.run(Duration::from_millis(5));
    net.machine(1).handle_unreachable(id(2));
    net.dead.remove(&2);
    net.propose("after");
    net.converge([1, 2]);
    assert!(chunks(&net) >= 30, "one part of a transfer, and one whole");
    assert_eq!(net.peers[&2].installed, 1);
}

#[test]
fn a_transfer_whose_acknowledgements_are_lost_begins_anew() {
    let mut net = Net::new(2, 9, &[vec![1; 12 * SNAPSHOT_CHUNK_BYTES].into()]);
    net.until("a leader", |net| net.leader() == Some(1));
    let now = net.now;
    net.machine(1).change_members(now, &ids([1]), &ids([2])).unwrap();
    net.drain(1);
    let sending = |net: &Net| net.peers[&1].sent.iter().any(|(_, m)| m.kind() == RaftKind::Snapshot);
    net.until("a chunk", sending);
    net.dead.insert(2);
    net.run(Duration::from_secs(1));
    net.dead.remove(&2);
    net.converge([1, 2]);
}

#[test]
fn a_joiner_gets_its_snapshot_without_a_heartbeat() {
    let mut net = Net::new(2, 10, &["a".into()]);
    net.until("a leader", |net| net.leader() == Some(1));
    net.silent = true;
    let now = net.now;
    net.machine(1).change_members(now, &ids([1]), &ids([2])).unwrap();
    net.drain(1);
    net.run(Duration::from_millis(50));
    assert_eq!(net.peers[&2].installed, 1);
}
