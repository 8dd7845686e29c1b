//! Changes of voters and learners.

use std::collections::BTreeSet;

use protobuf::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, Entry, EntryType};

use super::{Consensus, ConsensusOutput, ProposeRefused, convert};
use crate::id::{LogIndex, RaftId};
use crate::limits::RAFT_MEMBERS_MAX;
use crate::time::Timestamp;

impl Consensus {
    /// Proposes that voters and learners be these, and nobody else a member.
    /// One differing node is a simple change; more go through a joint
    /// configuration. One that changes voters lasts until
    /// [`Consensus::leave_joint`]; one that changes only learners ends by
    /// itself. Gives the index of the first entry of the change; the members are
    /// these when it is applied and [`Consensus::is_joint`] says no. A leader
    /// never removes itself: transfer first.
    pub fn change_members(
        &mut self,
        now: Timestamp,
        voters: &BTreeSet<RaftId>,
        learners: &BTreeSet<RaftId>,
    ) -> Result<LogIndex, ProposeRefused> {
        self.advance_clock(now);
        self.may_propose()?;
        if !voters.contains(&self.id) {
            return Err(ProposeRefused::Invalid("the leader stays a voter: transfer leadership first"));
        }
        if !voters.is_disjoint(learners) {
            return Err(ProposeRefused::Invalid("no node is both voter and learner"));
        }
        if voters.len() + learners.len() > RAFT_MEMBERS_MAX {
            return Err(ProposeRefused::Invalid("too many members"));
        }
        if self.conf_change_pending() {
            return Err(ProposeRefused::ChangePending);
        }
        let changes = self.changes_to(voters, learners);
        if changes.is_empty() {
            return Err(ProposeRefused::Unchanged);
        }
        let mut change = ConfChangeV2::default();
        if changes.len() > 1 && *voters != self.voters() {
            change.set_transition(ConfChangeTransition::Explicit);
        }
        change.set_changes(changes.into());
        self.propose_change(&change)
    }

    /// Proposes to end a joint configuration: from then on the new voters
    /// decide alone.
    pub fn leave_joint(&mut self, now: Timestamp) -> Result<LogIndex, ProposeRefused> {
        self.advance_clock(now);
        self.may_propose()?;
        if !self.is_joint() {
            return Err(ProposeRefused::Unchanged);
        }
        if self.raw.raft.has_pending_conf() {
            return Err(ProposeRefused::ChangePending);
        }
        self.propose_change(&ConfChangeV2::default())
    }

    fn propose_change(&mut self, change: &ConfChangeV2) -> Result<LogIndex, ProposeRefused> {
        let mut entry = Entry::default();
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        entry.data = change.write_to_bytes().expect("a change has no required fields").into();
        self.propose_entry(entry)
    }

    /// What differs, in the order of ids.
    fn changes_to(&self, voters: &BTreeSet<RaftId>, learners: &BTreeSet<RaftId>) -> Vec<ConfChangeSingle> {
        let (old_voters, old_learners) = (self.voters(), self.learners());
        let everyone = [voters, learners, &old_voters, &old_learners].into_iter().flatten().collect::<BTreeSet<_>>();
        let change_of = |id: &RaftId| {
            let kind = match (voters.contains(id), learners.contains(id)) {
                (true, _) if !old_voters.contains(id) => ConfChangeType::AddNode,
                (_, true) if !old_learners.contains(id) => ConfChangeType::AddLearnerNode,
                (false, false) => ConfChangeType::RemoveNode,
                _ => return None,
            };
            let mut single = ConfChangeSingle::default();
            single.set_change_type(kind);
            single.node_id = id.get();
            Some(single)
        };
        everyone.into_iter().filter_map(change_of).collect()
    }

    /// Puts a committed change in force. One that does not decode or does not
    /// fit changes nothing, on every node alike.
    pub(super) fn apply_change(&mut self, entry: &Entry) {
        let mut change = ConfChangeV2::default();
        let decoded = change.merge_from_bytes(&entry.data).is_ok();
        match decoded.then(|| self.raw.apply_conf_change(&change)) {
            Some(Ok(conf)) => self.configurations.push_back((entry.index, convert::sorted(conf))),
            Some(Err(error)) => tracing::error!(index = entry.index, %error, "a committed change cannot be applied"),
            None => tracing::error!(index = entry.index, "a committed change does not decode"),
        }
        self.persist_commit(entry.index);
        self.step_down_if_removed();
        self.outputs.push_back(ConsensusOutput::ConfChanged { index: LogIndex(entry.index) });
    }

    /// Raft would go on leading a cluster that it is no longer part of.
    fn step_down_if_removed(&mut self) {
        let removed = !self.is_voter(self.id.get());
        if removed && self.raw.raft.state == raft::StateRole::Leader {
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
        }
        if removed {
            self.election.leader_found();
        }
    }
}
