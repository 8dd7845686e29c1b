//! Between Raft's types and those of the wire.

use std::collections::BTreeSet;

use bytes::Bytes;
use raft::eraftpb::{ConfState, Entry, EntryType, Message, MessageType, Snapshot};

use crate::id::RaftId;
use crate::wire::raft::{RaftEntry, RaftEntryKind, RaftKind, RaftMessage, SnapshotMeta};

/// The context by which Raft knows a vote that the leader itself wished for.
const TRANSFER: &[u8] = b"CampaignTransfer";

/// The snapshot with which a cluster begins: one voter, index 1, term 1.
pub(super) fn first_snapshot(id: u64, state: Bytes) -> Snapshot {
    let mut conf = ConfState::default();
    conf.voters.push(id);
    snapshot((1, 1), conf, state)
}

pub(super) fn snapshot((index, term): (u64, u64), conf: ConfState, state: Bytes) -> Snapshot {
    let mut snapshot = Snapshot { data: state, ..Snapshot::default() };
    snapshot.mut_metadata().index = index;
    snapshot.mut_metadata().term = term;
    snapshot.mut_metadata().set_conf_state(conf);
    snapshot
}

pub(super) fn ids(raw: &[u64]) -> BTreeSet<RaftId> {
    raw.iter().copied().filter_map(RaftId::new).collect()
}

/// Raft keeps ids in hash order, which must not show.
pub(super) fn sorted(mut conf: ConfState) -> ConfState {
    conf.voters.sort_unstable();
    conf.learners.sort_unstable();
    conf.voters_outgoing.sort_unstable();
    conf.learners_next.sort_unstable();
    conf
}

pub(super) fn to_meta(snapshot: &Snapshot) -> SnapshotMeta {
    let meta = snapshot.get_metadata();
    let conf = sorted(meta.get_conf_state().clone());
    SnapshotMeta {
        index: meta.index,
        term: meta.term,
        voters: conf.voters,
        learners: conf.learners,
        voters_outgoing: conf.voters_outgoing,
        learners_next: conf.learners_next,
        auto_leave: conf.auto_leave,
    }
}

pub(super) fn from_meta(meta: SnapshotMeta, state: Bytes) -> Snapshot {
    let conf = ConfState {
        voters: meta.voters,
        learners: meta.learners,
        voters_outgoing: meta.voters_outgoing,
        learners_next: meta.learners_next,
        auto_leave: meta.auto_leave,
        ..ConfState::default()
    };
    snapshot((meta.index, meta.term), conf, state)
}

pub(super) fn from_entry(entry: &Entry) -> RaftEntry {
    let kind = match entry.get_entry_type() {
        EntryType::EntryNormal => RaftEntryKind::Normal,
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => RaftEntryKind::ConfChange,
    };
    RaftEntry { kind: kind.into(), term: entry.term, index: entry.index, data: entry.data.clone() }
}

pub(super) fn to_entry(entry: RaftEntry) -> Entry {
    let mut raw = Entry::default();
    raw.set_entry_type(match entry.kind() {
        RaftEntryKind::Normal => EntryType::EntryNormal,
        RaftEntryKind::ConfChange => EntryType::EntryConfChangeV2,
    });
    raw.term = entry.term;
    raw.index = entry.index;
    raw.data = entry.data;
    raw
}

/// A message without its snapshot; `None` for kinds that never leave a node.
pub(super) fn from_raft(message: &Message) -> Option<RaftMessage> {
    let kind = match message.get_msg_type() {
        MessageType::MsgAppend => RaftKind::Append,
        MessageType::MsgAppendResponse => RaftKind::AppendResponse,
        MessageType::MsgRequestVote => RaftKind::Vote,
        MessageType::MsgRequestVoteResponse => RaftKind::VoteResponse,
        MessageType::MsgRequestPreVote => RaftKind::PreVote,
        MessageType::MsgRequestPreVoteResponse => RaftKind::PreVoteResponse,
        MessageType::MsgSnapshot => RaftKind::Snapshot,
        MessageType::MsgTimeoutNow => RaftKind::TimeoutNow,
        _ => return None,
    };
    Some(RaftMessage {
        kind: kind.into(),
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: message.entries.iter().map(from_entry).collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        transfer: message.context == TRANSFER,
        snapshot: None,
        promise_rem_nanos: None,
    })
}

/// A checked message for Raft. What only a voter may claim (that the leader
/// wished for this vote, what is committed) is left out unless `voter`.
pub(super) fn to_raft(message: RaftMessage, from: u64, voter: bool) -> Message {
    let mut raw = Message::default();
    let kind = message.kind();
    raw.set_msg_type(match kind {
        RaftKind::Append => MessageType::MsgAppend,
        RaftKind::AppendResponse => MessageType::MsgAppendResponse,
        RaftKind::Vote => MessageType::MsgRequestVote,
        RaftKind::VoteResponse => MessageType::MsgRequestVoteResponse,
        RaftKind::PreVote => MessageType::MsgRequestPreVote,
        RaftKind::PreVoteResponse => MessageType::MsgRequestPreVoteResponse,
        RaftKind::TimeoutNow => MessageType::MsgTimeoutNow,
        RaftKind::Unspecified | RaftKind::Snapshot | RaftKind::SnapshotAck => {
            unreachable!("refused by `admission`, or handled chunk by chunk")
        }
    });
    raw.from = from;
    raw.term = message.term;
    raw.log_term = message.log_term;
    raw.index = message.index;
    raw.reject = message.reject;
    raw.reject_hint = message.reject_hint;
    if kind == RaftKind::Append {
        raw.commit = message.commit;
        raw.set_entries(message.entries.into_iter().map(to_entry).collect::<Vec<_>>().into());
    }
    if voter {
        raw.commit = message.commit;
        raw.commit_term = message.commit_term;
        if message.transfer && kind == RaftKind::Vote {
            raw.context = Bytes::from_static(TRANSFER);
        }
    }
    raw
}
