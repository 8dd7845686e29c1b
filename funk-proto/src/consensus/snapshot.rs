//! Snapshots: made, sent chunk by chunk, and put together again. The receiver
//! acknowledges each chunk, and the sender keeps a few in flight, so that a
//! large snapshot fills no queue.

use bytes::{Bytes, BytesMut};
use raft::eraftpb::{Message, MessageType, Snapshot};
use raft::{ProgressState, SnapshotStatus, StateRole};

use super::{Consensus, ConsensusOutput, convert};
use crate::id::{LogIndex, RaftId};
use crate::limits::{SNAPSHOT_BYTES_MAX, SNAPSHOT_CHUNK_BYTES};
use crate::time::Timestamp;
use crate::wire::raft::{RaftKind, RaftMessage, SnapshotChunk, SnapshotMeta};

/// Bytes in flight to one receiver.
const WINDOW_BYTES: usize = 8 * SNAPSHOT_CHUNK_BYTES;
/// Time without progress after which a transfer is given up and begun anew.
const STALL: std::time::Duration = std::time::Duration::from_secs(5);

/// A snapshot on its way to one follower.
pub(super) struct Outgoing {
    meta: SnapshotMeta,
    data: Bytes,
    sent: usize,
    done: bool,
    acknowledged: usize,
    progressed: Timestamp,
}

/// A snapshot that arrives; only one at a time, since only one node leads.
pub(super) struct Incoming {
    from: RaftId,
    term: u64,
    meta: SnapshotMeta,
    data: BytesMut,
}

impl Consensus {
    /// The state machine's bytes after `index`, which left through
    /// `poll_output`. Drops the log well behind it, and serves followers that
    /// wait for it. An index not newer than the last snapshot's is ignored.
    pub fn provide_snapshot(&mut self, now: Timestamp, index: LogIndex, state: Bytes) {
        self.advance_clock(now);
        self.snapshot_asked = false;
        // Asking again before anything new is applied would get the same answer.
        self.snapshot_again = LogIndex(self.polled.0 + 1);
        let store = self.raw.store();
        let newer = index.0 > store.snapshot_index() && index <= self.polled && state.len() <= SNAPSHOT_BYTES_MAX;
        let (true, Some(term)) = (newer, store.term_at(index.0)) else {
            self.raw.mut_store().take_waiting();
            if state.len() > SNAPSHOT_BYTES_MAX {
                tracing::error!(bytes = state.len(), "a snapshot over the limit is of no use");
            }
            return;
        };
        while self.configurations.get(1).is_some_and(|(since, _)| *since <= index.0) {
            self.configurations.pop_front();
        }
        let Some((_, conf)) = self.configurations.front() else { return };
        let snapshot = convert::snapshot((index.0, term), conf.clone(), state);
        self.raw.mut_store().compact(snapshot);
        self.persist_snapshot();
        self.snapshot_again = LogIndex(0);
        self.serve_waiting();
    }

    /// Followers that Raft could not serve are served at once, not with their next acknowledgement.
    fn serve_waiting(&mut self) {
        let waiting = self.raw.mut_store().take_waiting();
        if self.raw.raft.state != StateRole::Leader {
            return;
        }
        for id in waiting {
            let Some(progress) = self.raw.raft.mut_prs().get_mut(id) else { continue };
            if progress.state == ProgressState::Probe {
                progress.resume();
                self.raw.raft.send_append(id);
            }
        }
        self.after_step();
    }

    /// The connection to this peer was lost, or could not be had.
    pub fn handle_unreachable(&mut self, peer: RaftId) {
        self.raw.report_unreachable(peer.get());
        if self.outgoing.contains_key(&peer.get()) {
            self.handle_snapshot_failed(peer);
        }
        self.after_step();
    }

    /// A snapshot did not reach this peer. It is sent again after its next sign of life.
    pub fn handle_snapshot_failed(&mut self, peer: RaftId) {
        self.outgoing.remove(&peer.get());
        self.raw.report_snapshot(peer.get(), SnapshotStatus::Failure);
        self.after_step();
    }

    pub(super) fn check_stalled_snapshots(&mut self) {
        let raft = &self.raw.raft;
        let arrived = |id: &u64| raft.prs().get(*id).is_none_or(|peer| peer.state != ProgressState::Snapshot);
        self.outgoing.retain(|id, _| !arrived(id));
        let stalled = |transfer: &Outgoing| self.now.since(transfer.progressed) > STALL;
        let failed: Vec<u64> =
            self.outgoing.iter().filter(|(_, transfer)| stalled(transfer)).map(|(id, _)| *id).collect();
        for id in failed.into_iter().filter_map(RaftId::new) {
            self.handle_snapshot_failed(id);
        }
    }

    /// Begins to send; a former transfer to the same node ends.
    pub(super) fn send_snapshot(&mut self, to: RaftId, snapshot: &Snapshot) {
        let transfer = Outgoing {
            meta: convert::to_meta(snapshot),
            data: snapshot.data.clone(),
            sent: 0,
            done: false,
            acknowledged: 0,
            progressed: self.now,
        };
        self.outgoing.insert(to.get(), transfer);
        self.send_chunks(to);
    }

    fn send_chunks(&mut self, to: RaftId) {
        let term = self.raw.raft.term;
        let Some(transfer) = self.outgoing.get_mut(&to.get()) else { return };
        while !transfer.done && transfer.sent - transfer.acknowledged < WINDOW_BYTES {
            let end = transfer.data.len().min(transfer.sent + SNAPSHOT_CHUNK_BYTES);
            let last = end == transfer.data.len();
            let chunk = SnapshotChunk {
                meta: Some(transfer.meta.clone()),
                offset: transfer.sent as u64,
                data: transfer.data.slice(transfer.sent..end),
                last,
            };
            (transfer.sent, transfer.done) = (end, last);
            let message = chunk_message(RaftKind::Snapshot, term, chunk);
            self.outputs.push_back(ConsensusOutput::Send { to, message });
        }
    }

    pub(super) fn take_chunk_ack(&mut self, from: RaftId, message: &RaftMessage) {
        let Some(chunk) = &message.snapshot else { return };
        let Some(transfer) = self.outgoing.get_mut(&from.get()) else { return };
        let arrived = usize::try_from(chunk.offset).unwrap_or(usize::MAX);
        let ours = chunk.meta.as_ref().is_some_and(|meta| meta.index == transfer.meta.index);
        if ours && arrived > transfer.acknowledged && arrived <= transfer.sent {
            transfer.acknowledged = arrived;
            transfer.progressed = self.now;
            self.send_chunks(from);
        }
    }

    pub(super) fn take_chunk(&mut self, from: RaftId, message: RaftMessage) {
        let RaftMessage { term, snapshot: Some(SnapshotChunk { meta: Some(meta), offset, data, last }), .. } = message
        else {
            return;
        };
        // A chunk is a sign of the leader's life, and tells a stale leader of the new term.
        self.step_heartbeat(from, term, 0);
        if self.raw.raft.term != term || self.raw.raft.leader_id != from.get() {
            return;
        }
        if offset == 0 {
            if self.has_snapshot(&meta) {
                self.step_snapshot(from, term, meta, Bytes::new());
                return;
            }
            self.incoming = Some(Incoming { from, term, meta: meta.clone(), data: BytesMut::new() });
        }
        let Some(incoming) = &mut self.incoming else { return };
        let same = incoming.from == from && incoming.term == term && incoming.meta == meta;
        if !same || incoming.data.len() as u64 != offset {
            return;
        }
        incoming.data.extend_from_slice(&data);
        let arrived = incoming.data.len() as u64;
        if last {
            if let Some(incoming) = self.incoming.take() {
                self.step_snapshot(from, term, incoming.meta, incoming.data.freeze());
            }
        } else {
            let got = SnapshotChunk { meta: Some(meta), offset: arrived, data: Bytes::new(), last: false };
            self.replies.push((from, chunk_message(RaftKind::SnapshotAck, term, got)));
        }
    }

    /// Whether the log here already holds what the snapshot says: Raft then
    /// answers without touching the state.
    fn has_snapshot(&self, meta: &SnapshotMeta) -> bool {
        let log = &self.raw.raft.raft_log;
        meta.index < log.committed || log.match_term(meta.index, meta.term)
    }

    fn step_snapshot(&mut self, from: RaftId, term: u64, meta: SnapshotMeta, state: Bytes) {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgSnapshot);
        message.from = from.get();
        message.term = term;
        message.set_snapshot(convert::from_meta(meta, state));
        self.step(message);
    }
}

fn chunk_message(kind: RaftKind, term: u64, chunk: SnapshotChunk) -> RaftMessage {
    RaftMessage { kind: kind.into(), term, snapshot: Some(chunk), ..RaftMessage::default() }
}
