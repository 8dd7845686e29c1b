//! Raft's heartbeats, carried by liveness datagrams.

use raft::StateRole;
use raft::eraftpb::{Message, MessageType};

use super::{Consensus, Sender};
use crate::error::Misbehaviour;
use crate::id::{LogIndex, RaftId, Term};
use crate::mutate::{Mutant, planted};
use crate::time::Timestamp;

impl Consensus {
    /// A heartbeat came from a node that says it leads in `term`. `Ok(true)` if
    /// it is this node's leader, so that an acknowledgement may go.
    pub fn handle_heartbeat(
        &mut self,
        now: Timestamp,
        from: impl Into<Sender>,
        term: Term,
        commit: LogIndex,
    ) -> Result<bool, Misbehaviour> {
        self.advance_clock(now);
        let sender = from.into();
        let from = sender.id;
        if from == self.id {
            return Err(Misbehaviour::Raft("a heartbeat from this node itself"));
        }
        self.check_term(term.0)?;
        if term < self.term() {
            return Ok(planted(Mutant::StaleHeartbeatAcked));
        }
        self.check_leader(sender, term.0)?;
        self.step_heartbeat(from, term.0, commit.0);
        let raft = &self.raw.raft;
        Ok(raft.state == StateRole::Follower && raft.leader_id == from.get() && raft.term == term.0)
    }

    /// A commit beyond the log would panic; the leader claims none beyond what
    /// it knows to be here, so there is nothing to lose in cutting it.
    pub(super) fn step_heartbeat(&mut self, from: RaftId, term: u64, commit: u64) {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgHeartbeat);
        message.from = from.get();
        message.term = term;
        message.commit = commit.min(self.raw.raft.raft_log.last_index());
        self.step(message);
    }

    /// On the leader: this member acknowledged a heartbeat, in its `term`. It
    /// counts for the quorum, and what was held back for it flows again.
    pub fn handle_heartbeat_ack(&mut self, now: Timestamp, from: RaftId, term: Term) {
        self.advance_clock(now);
        // An answer from a later term tells a leader that was away that it is none any more.
        let stale = term < self.term() || self.check_term(term.0).is_err();
        if self.raw.raft.state != StateRole::Leader || stale || from == self.id {
            return;
        }
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgHeartbeatResponse);
        message.from = from.get();
        message.term = term.0;
        self.step(message);
    }

    /// The commit index for a heartbeat to this member: none that it may not have.
    pub fn heartbeat_commit(&self, to: RaftId) -> LogIndex {
        self.matched(to).min(self.commit())
    }
}
