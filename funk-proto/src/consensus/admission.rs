//! What may reach Raft. A peer's message is checked here against every
//! assumption that Raft makes without checking: some it answers with a panic,
//! some by following a leader that is none.

use std::collections::BTreeSet;

use raft::StateRole;

use super::{Consensus, Sender};
use crate::error::Misbehaviour;
use crate::id::RaftId;
use crate::limits::{PROPOSAL_BYTES_MAX, RAFT_MEMBERS_MAX, SNAPSHOT_BYTES_MAX, SNAPSHOT_CHUNK_BYTES};
use crate::mutate::{Mutant, planted};
use crate::wire::raft::{RaftEntryKind, RaftKind, RaftMessage, SnapshotMeta};

/// A term further ahead than this is made up: terms grow by one an election.
/// The bound keeps one message from using up the number space.
const TERM_JUMP_MAX: u64 = 1 << 32;
/// No index or term comes near it; below it, sums cannot overflow.
pub(super) const NUMBER_MAX: u64 = 1 << 62;

/// What to do with a message that is no misbehaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    /// Late, or of no use here.
    Ignore,
}

fn refuse<T>(why: &'static str) -> Result<T, Misbehaviour> {
    Err(Misbehaviour::Raft(why))
}

impl Consensus {
    pub(super) fn check(&self, sender: Sender, message: &RaftMessage) -> Result<Verdict, Misbehaviour> {
        let from = sender.id;
        if from == self.id {
            return refuse("a message from this node itself");
        }
        self.check_term(message.term)?;
        let numbers = [message.log_term, message.index, message.commit, message.commit_term];
        if numbers.iter().any(|&number| number > NUMBER_MAX) && !planted(Mutant::AnyNumberBelieved) {
            return refuse("a number beyond all logs");
        }
        let kind = message.kind();
        if (kind != RaftKind::Append && !message.entries.is_empty())
            || (!matches!(kind, RaftKind::Snapshot | RaftKind::SnapshotAck) && message.snapshot.is_some())
        {
            return refuse("contents that its kind does not have");
        }
        match kind {
            RaftKind::Unspecified => refuse("an unknown kind"),
            RaftKind::Append => self.check_append(sender, message),
            RaftKind::AppendResponse => self.check_append_response(message),
            RaftKind::Vote | RaftKind::PreVote => self.check_vote(message),
            RaftKind::VoteResponse | RaftKind::PreVoteResponse => self.check_vote_response(from, message),
            RaftKind::Snapshot => self.check_chunk(sender, message),
            RaftKind::SnapshotAck => self.check_chunk_ack(message),
            RaftKind::TimeoutNow => self.check_timeout_now(sender, message),
        }
    }

    pub(super) fn check_term(&self, term: u64) -> Result<(), Misbehaviour> {
        let is_far = term > NUMBER_MAX || term > self.raw.raft.term.saturating_add(TERM_JUMP_MAX);
        if term == 0 || is_far && !planted(Mutant::AnyNumberBelieved) {
            return refuse("a term out of all reason");
        }
        Ok(())
    }

    /// Only a member leads, and only one in a term.
    pub(super) fn check_leader(&self, sender: Sender, term: u64) -> Result<(), Misbehaviour> {
        let (raft, from) = (&self.raw.raft, sender.id);
        if !self.is_empty() && raft.prs().get(from.get()).is_none() && !sender.is_vouched {
            return refuse("a leader that is no member");
        }
        let other = raft.leader_id != 0 && raft.leader_id != from.get();
        let is_second = other || raft.state == StateRole::Leader;
        if term == raft.term && is_second && !planted(Mutant::SecondLeaderBelieved) {
            return refuse("a second leader in one term");
        }
        Ok(())
    }

    fn check_append(&self, sender: Sender, message: &RaftMessage) -> Result<Verdict, Misbehaviour> {
        self.check_leader(sender, message.term)?;
        // Term 0 is what Raft takes for the term of an index that it does not
        // have: such an append would fit anywhere.
        if message.index == 0 || message.log_term == 0 || message.log_term > message.term {
            return refuse("an append without a sound entry before it");
        }
        let (mut index, mut term) = (message.index, message.log_term);
        for entry in &message.entries {
            index += 1;
            if entry.index != index || entry.term < term || entry.term > message.term {
                return refuse("entries that are not consecutive");
            }
            if RaftEntryKind::try_from(entry.kind).is_err() {
                return refuse("an entry of an unknown kind");
            }
            if entry.data.len() > PROPOSAL_BYTES_MAX {
                return refuse("an entry over the limit of proposals");
            }
            term = entry.term;
        }
        Ok(Verdict::Pass)
    }

    fn check_append_response(&self, message: &RaftMessage) -> Result<Verdict, Misbehaviour> {
        let raft = &self.raw.raft;
        let last = raft.raft_log.last_index();
        if raft.state == StateRole::Leader && message.term == raft.term {
            let beyond = if message.reject { message.reject_hint } else { message.index };
            if beyond > last || (message.reject && message.log_term > message.term) {
                return refuse("an answer about entries that were never sent");
            }
        } else if message.term <= raft.term {
            return Ok(Verdict::Ignore);
        }
        Ok(Verdict::Pass)
    }

    /// The configuration here may lag, so a candidate need not be known. A
    /// node without a log has no vote to give.
    fn check_vote(&self, message: &RaftMessage) -> Result<Verdict, Misbehaviour> {
        if message.log_term > message.term {
            return refuse("a log from a later term");
        }
        Ok(if self.is_empty() { Verdict::Ignore } else { Verdict::Pass })
    }

    fn check_vote_response(&self, from: RaftId, message: &RaftMessage) -> Result<Verdict, Misbehaviour> {
        if self.raw.raft.prs().get(from.get()).is_none() {
            return Ok(Verdict::Ignore);
        }
        // Votes are asked for when all before is stable, so no answer can come
        // earlier; one that does would make a leader of an unstable log.
        if !message.reject && !self.is_settled() {
            return Ok(Verdict::Ignore);
        }
        Ok(Verdict::Pass)
    }

    fn check_chunk(&self, sender: Sender, message: &RaftMessage) -> Result<Verdict, Misbehaviour> {
        self.check_leader(sender, message.term)?;
        let Some(chunk) = &message.snapshot else { return refuse("a snapshot without a chunk") };
        let Some(meta) = &chunk.meta else { return refuse("a snapshot without its meaning") };
        if meta.term == 0 || meta.term > message.term || meta.index == 0 || meta.index > NUMBER_MAX {
            return refuse("a snapshot of no sound index");
        }
        // Raft takes one at its very commit index for newer if the terms differ.
        let log = &self.raw.raft.raft_log;
        if meta.index == log.committed && !log.match_term(meta.index, meta.term) {
            return refuse("a snapshot that contradicts what is committed");
        }
        let end = chunk.offset.saturating_add(chunk.data.len() as u64);
        if chunk.data.len() > SNAPSHOT_CHUNK_BYTES || end > SNAPSHOT_BYTES_MAX as u64 {
            return Err(Misbehaviour::Oversized("snapshot"));
        }
        check_configuration(meta)?;
        Ok(Verdict::Pass)
    }

    fn check_chunk_ack(&self, message: &RaftMessage) -> Result<Verdict, Misbehaviour> {
        if message.snapshot.as_ref().and_then(|chunk| chunk.meta.as_ref()).is_none() {
            return refuse("an acknowledgement of nothing");
        }
        let leads = self.raw.raft.state == StateRole::Leader && message.term == self.raw.raft.term;
        Ok(if leads { Verdict::Pass } else { Verdict::Ignore })
    }

    fn check_timeout_now(&self, sender: Sender, message: &RaftMessage) -> Result<Verdict, Misbehaviour> {
        let raft = &self.raw.raft;
        if message.term > raft.term {
            return refuse("an invitation to campaign from nobody's leader");
        }
        if message.term < raft.term || raft.leader_id == 0 {
            return Ok(Verdict::Ignore);
        }
        if raft.leader_id != sender.id.get() {
            return refuse("an invitation to campaign from another than the leader");
        }
        Ok(if self.may_campaign() { Verdict::Pass } else { Verdict::Ignore })
    }

    /// Whether this node has no log yet.
    pub(super) fn is_empty(&self) -> bool {
        self.raw.raft.raft_log.last_index() == 0
    }
}

/// Raft panics over a configuration that contradicts itself.
pub(super) fn check_configuration(meta: &SnapshotMeta) -> Result<(), Misbehaviour> {
    let all = [&meta.voters, &meta.learners, &meta.voters_outgoing, &meta.learners_next];
    if all.iter().any(|ids| ids.len() > RAFT_MEMBERS_MAX) {
        return Err(Misbehaviour::Oversized("configuration"));
    }
    let sets = all.map(|ids| ids.iter().copied().collect::<BTreeSet<u64>>());
    let repeated = sets.iter().zip(all).any(|(set, ids)| set.len() != ids.len() || set.contains(&0));
    let [voters, learners, outgoing, next] = &sets;
    let sound = !repeated
        && !voters.is_empty()
        && voters.is_disjoint(learners)
        && outgoing.is_disjoint(learners)
        && next.is_subset(outgoing)
        && next.is_disjoint(voters)
        && (!outgoing.is_empty() || !meta.auto_leave);
    if sound { Ok(()) } else { refuse("a configuration that contradicts itself") }
}
