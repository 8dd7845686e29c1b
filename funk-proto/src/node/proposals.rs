//! User proposals: from any node to the leader, and back as committed.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::Node;
use crate::error::{Misbehaviour, RequestError};
use crate::event::{Event, Outcome};
use crate::id::{ConnId, LogIndex, RaftId};
use crate::limits::{PROPOSAL_BYTES_MAX, PROPOSALS_INFLIGHT_MAX};
use crate::mutate::{Mutant, planted};
use crate::request::RequestId;
use crate::time::Timestamp;
use crate::wire::cluster::{Command, FrameBody, Op, Operation, UserEntry};

/// Proposals of this node that wait for their commit.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    last: u64,
    /// Each with the leader that it was sent to.
    inflight: BTreeMap<RequestId, RaftId>,
    user_entries: bool,
    /// The cluster's state at the index at which the application was asked for its own.
    pub(super) snapshot_at: Option<(LogIndex, Bytes)>,
}

impl Proposals {
    pub(super) fn next_id(&mut self) -> RequestId {
        self.last += 1;
        RequestId(self.last)
    }

    pub(super) fn note_user_state(&mut self) {
        self.user_entries = true;
    }

    /// Whether the application has a state of its own on the log.
    pub(super) fn has_user_state(&self) -> bool {
        self.user_entries
    }
}

impl Node {
    pub(super) fn propose(&mut self, now: Timestamp, id: RequestId, bytes: Bytes) -> Result<(), RequestError> {
        self.send_entry(now, id, bytes, false)
    }

    /// An entry of its own says what came before it, on every node alike: a
    /// leader that was deposed and does not know it commits none.
    pub(super) fn barrier(&mut self, now: Timestamp, id: RequestId) -> Result<(), RequestError> {
        if planted(Mutant::BarrierWithoutLog) {
            let outcome = Outcome::Committed(self.consensus.applied());
            self.event(Event::RequestDone { id, outcome });
            return Ok(());
        }
        self.send_entry(now, id, Bytes::new(), true)
    }

    fn send_entry(&mut self, now: Timestamp, id: RequestId, bytes: Bytes, barrier: bool) -> Result<(), RequestError> {
        if bytes.len() > PROPOSAL_BYTES_MAX {
            return Err(RequestError::TooLarge { bytes: bytes.len() });
        }
        if self.proposals.inflight.len() >= PROPOSALS_INFLIGHT_MAX {
            return Err(RequestError::Busy);
        }
        if self.joining.is_leaving() {
            return Err(RequestError::Stopping);
        }
        if self.state.is_none() {
            return Err(RequestError::NotMember);
        }
        let entry = UserEntry { id: self.me.id.get(), boot: self.me.boot.get(), request: id.0, bytes, barrier };
        let leader = if self.leader.leads() {
            self.append_user_entry(now, entry).map_err(|_| RequestError::NoLeader)?;
            self.me.id
        } else {
            let leader = self.consensus.leader().ok_or(RequestError::NoLeader)?;
            if !self.peers.send(now, leader, FrameBody::Propose(entry)) {
                return Err(RequestError::NoLeader);
            }
            leader
        };
        self.proposals.inflight.insert(id, leader);
        Ok(())
    }

    fn append_user_entry(&mut self, now: Timestamp, entry: UserEntry) -> Result<LogIndex, UserEntry> {
        let command = Command { operations: vec![Operation { op: Some(Op::User(entry.clone())) }] };
        if planted(Mutant::ProposedTwice) {
            let _ = self.consensus.propose(now, command.encode_to_vec().into());
        }
        self.consensus.propose(now, command.encode_to_vec().into()).map_err(|_| entry)
    }

    /// A proposal of another node. A node that does not lead sends it back: passing it on could make it travel for
    /// ever. So does a leader to a node that is no member, or not any more.
    pub(super) fn handle_propose(
        &mut self,
        now: Timestamp,
        (conn, from): (ConnId, RaftId),
        entry: UserEntry,
    ) -> Result<(), Misbehaviour> {
        if entry.bytes.len() > PROPOSAL_BYTES_MAX {
            return Err(Misbehaviour::Oversized("proposal"));
        }
        if entry.id != from.get() {
            return Err(Misbehaviour::Malformed("proposal"));
        }
        let is_taken = self.leader.leads() && (self.is_up_member(from) || planted(Mutant::ProposalOfStranger));
        let result = if is_taken { self.append_user_entry(now, entry) } else { Err(entry) };
        if let Err(mut entry) = result {
            entry.bytes = Bytes::new();
            // On the stream that carried it: the proposer notices when that one ends, and may not when another does.
            self.peers.answer(conn, FrameBody::ProposeRefused(entry));
        }
        Ok(())
    }

    /// Nobody but the node that it was sent to knows that a proposal will not be appended.
    pub(super) fn handle_propose_refused(&mut self, from: RaftId, entry: &UserEntry) -> Result<(), Misbehaviour> {
        let id = RequestId(entry.request);
        let is_asked = self.proposals.inflight.get(&id) == Some(&from) || planted(Mutant::RefusalOfAnyMember);
        if entry.boot == self.me.boot.get() && is_asked {
            self.end_request(id, Outcome::Rejected(RequestError::NoLeader));
        }
        Ok(())
    }

    pub(super) fn handle_user_entry(&mut self, index: LogIndex, entry: &UserEntry) {
        if !entry.barrier {
            self.proposals.user_entries = true;
            self.event(Event::Committed { index, bytes: entry.bytes.clone() });
        }
        let is_own = entry.id == self.me.id.get() || planted(Mutant::CommitOfAnyName);
        if is_own && entry.boot == self.me.boot.get() {
            self.end_request(RequestId(entry.request), Outcome::Committed(index));
        }
    }

    /// What was sent to a leader that is lost may or may not come to be.
    pub(super) fn abandon_proposals(&mut self) {
        for id in std::mem::take(&mut self.proposals.inflight).into_keys() {
            if planted(Mutant::RequestForgotten) {
                continue;
            }
            self.event(Event::RequestDone { id, outcome: Outcome::Unknown });
        }
    }

    fn end_request(&mut self, id: RequestId, outcome: Outcome) {
        if self.proposals.inflight.remove(&id).is_some() {
            self.event(Event::RequestDone { id, outcome });
        }
    }
}
