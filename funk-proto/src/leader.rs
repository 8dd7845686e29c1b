//! The leader: it writes the member table, hands shards out, chooses the voters and does what operators ask.
//!
//! It acts by entries of the log alone: nothing here takes effect before it is committed. Its rules read
//! [`Facts`] and change none of them; what must be done comes out as [`LeaderOutput`].
//!
//! | part | what |
//! |---|---|
//! | [`facts`] | what the rules read |
//! | [`deaths`] | members that have ended, and worker ids that are free again |
//! | [`joins`] | nodes that want in |
//! | [`conduct`] | how long a member stayed, and who waits for that |
//! | [`lease`] | how long the cluster's lease is |
//! | [`ring`] | which gossip keys it uses |
//! | [`departures`] | members that leave, and the leader that leaves last |
//! | [`map`] | which shards move where |
//! | [`voting`], [`voters`] | who votes, and who leads next |
//! | [`operations`], [`goals`] | what an operator asks: add, remove, drain, pin, weigh, step down |
//! | [`round`] | the duties of a leader, in order |
//! | [`pending`] | what it remembers of what is under way |

mod conduct;
mod deaths;
mod departures;
mod facts;
mod goals;
mod joins;
mod lease;
mod map;
mod operations;
mod pending;
mod ring;
mod round;
#[cfg(test)]
mod tests;
mod voters;
mod voting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) use conduct::Cause;
use conduct::Conduct;
pub(crate) use facts::{ANSWERS, Facts, Quorum};
use goals::Operations;
pub(crate) use goals::Target;
pub(crate) use joins::duplicate_refused;
use lease::Pace;
use pending::{PendingJoin, Proposing};

use crate::event::Outcome;
use crate::id::{Incarnation, LogIndex, NodeName, RaftId, ShardId, Term};
use crate::limits::LEADER_STALL_MAX;
use crate::mutate::{Mutant, planted};
use crate::request::RequestId;
use crate::shards::plan::Releases;
use crate::time::{Timestamp, earliest};
use crate::wire::cluster::{FrameBody, MemberRecord, Op};

/// Pause after a change that consensus refused.
const RETRY: Duration = Duration::from_millis(20);

/// What the leader wants done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LeaderOutput {
    /// Append these operations to the log as one entry. [`Leader::handle_proposed`] or [`Leader::handle_refused`]
    /// must be called before anything else happens.
    Propose(Vec<Op>),
    /// Change who votes and who learns. [`Leader::handle_refused`] if it is refused.
    ChangeVoters { voters: BTreeSet<RaftId>, learners: BTreeSet<RaftId> },
    /// Leave the joint configuration. [`Leader::handle_refused`] if it is refused.
    LeaveJoint,
    /// Let this voter lead.
    Transfer(RaftId),
    /// Grant this member a lease only once it has applied this entry.
    RaiseFloor(RaftId, LogIndex),
    /// This member is considered dead though its silence is not long enough yet.
    GivenUp(RaftId),
    /// This many members are about to be declared dead.
    DeclaredDead(usize),
    /// The node of this name is let in and declared dead again and again, for this cause: it waits from now on.
    Flaps { name: NodeName, cause: Cause },
    /// Dial this process where it listens for streams.
    Call { to: Incarnation, raft: SocketAddr },
    /// Send this to a process.
    Tell(Incarnation, Box<FrameBody>),
    /// An operation ended.
    Done(RequestId, Outcome),
    /// This leader wants to leave, and nobody is left who could lead after it.
    LastOut,
}

/// What the leader of a term keeps in memory.
#[derive(Debug)]
struct Leading {
    term: Term,
    /// The first entry of the own term is applied.
    is_ready: bool,
    joins: BTreeMap<RaftId, PendingJoin>,
    leaves: BTreeSet<Incarnation>,
    updates: BTreeMap<RaftId, MemberRecord>,
    releases: Releases,
    /// Own entry about members or shards that is not applied yet.
    outstanding: Option<LogIndex>,
    /// What the entry that is about to be proposed entails once it has an index.
    proposing: Option<Proposing>,
    /// Something changed since the last round.
    dirty: bool,
    look_at: Option<Timestamp>,
    voters: BTreeSet<RaftId>,
    /// No voter change before: a quorum of today must meet every quorum whose promise still runs.
    voters_not_before: Timestamp,
    transfer_at: Timestamp,
    /// Grants to these members end if they have not applied the move by then.
    moves: Vec<(RaftId, LogIndex, Timestamp)>,
    /// The gossip keys were changed here.
    ring_changed: bool,
}

impl Leading {
    fn new(now: Timestamp, term: Term, voters: BTreeSet<RaftId>, inherited_until: Timestamp) -> Self {
        Self {
            term,
            is_ready: false,
            joins: BTreeMap::new(),
            leaves: BTreeSet::new(),
            updates: BTreeMap::new(),
            releases: Releases::default(),
            outstanding: None,
            proposing: None,
            dirty: true,
            look_at: None,
            voters,
            voters_not_before: voters_wait(inherited_until),
            transfer_at: now,
            moves: Vec::new(),
            ring_changed: false,
        }
    }

    fn look_again(&mut self, at: Timestamp) {
        self.look_at = earliest(self.look_at, Some(at));
    }
}

/// No change of voters before.
fn voters_wait(until: Timestamp) -> Timestamp {
    if planted(Mutant::VotersChangeTooEarly) { Timestamp::ZERO } else { until }
}

/// The leader's rules, on every node; they rest while another node leads.
#[derive(Debug, Default)]
pub(crate) struct Leader {
    leading: Option<Leading>,
    /// Kept from reign to reign.
    conduct: Conduct,
    pace: Pace,
    operations: Operations,
    outputs: VecDeque<LeaderOutput>,
}

impl Leader {
    /// This node leads in this term. Until `inherited_until` run the promises that its voters told of.
    pub(crate) fn lead(&mut self, now: Timestamp, term: Term, voters: BTreeSet<RaftId>, inherited_until: Timestamp) {
        let until = if planted(Mutant::VotersWaitForNoPromise) { now } else { inherited_until };
        self.leading = Some(Leading::new(now, term, voters, until));
        self.pace.lead(now);
    }

    /// This process leads from now on, in a new term.
    pub(crate) fn note_leader(&mut self, now: Timestamp, leader: Incarnation) {
        self.pace.note_leader(now, leader);
    }

    /// The cluster's lease changed.
    pub(crate) fn handle_lease_changed(&mut self, now: Timestamp) {
        self.pace.note_changed(now);
    }

    /// This node, `me`, leads no longer; `leader` does, if anybody is known to.
    pub(crate) fn follow(&mut self, me: RaftId, leader: Option<RaftId>) {
        self.leading = None;
        self.end_operations_of_leader(me, leader);
    }

    /// Forgets all that is under way, without a word.
    pub(crate) fn reset(&mut self) {
        self.leading = None;
    }

    /// Whether this node leads.
    pub(crate) fn leads(&self) -> bool {
        self.leading.is_some()
    }

    /// Whether this node leads in that term.
    pub(crate) fn leads_in(&self, term: Term) -> bool {
        self.leading.as_ref().is_some_and(|leading| leading.term == term)
    }

    /// Whether this node leads and has applied the first entry of its term.
    pub(crate) fn is_ready(&self) -> bool {
        self.leading.as_ref().is_some_and(|leading| leading.is_ready)
    }

    /// Something that the rules read has changed.
    pub(crate) fn wake(&mut self) {
        if let Some(leading) = &mut self.leading {
            leading.dirty = true;
        }
    }

    /// The first entry of the own term is applied.
    pub(crate) fn handle_ready(&mut self) {
        if let Some(leading) = &mut self.leading {
            leading.is_ready = true;
            leading.dirty = true;
        }
    }

    /// An entry is applied.
    pub(crate) fn handle_applied(&mut self, index: LogIndex) {
        if let Some(leading) = &mut self.leading
            && leading.outstanding.is_some_and(|outstanding| index >= outstanding)
        {
            leading.outstanding = None;
            leading.dirty = true;
        }
    }

    /// A change of voters is applied. So long may a promise run that a heartbeat of this term asked for.
    pub(crate) fn handle_conf_change(&mut self, now: Timestamp, voters: BTreeSet<RaftId>, promise: Duration) {
        let Some(leading) = &mut self.leading else { return };
        if voters != leading.voters {
            leading.voters = voters;
            leading.voters_not_before = voters_wait(leading.voters_not_before.max(now + promise));
        }
        leading.dirty = true;
    }

    /// A previous owner says that these shards are no longer served there.
    pub(crate) fn handle_release(&mut self, owner: Incarnation, change: LogIndex, shards: &[ShardId]) {
        if let Some(leading) = &mut self.leading {
            leading.releases.insert(owner, change, shards);
            leading.dirty = true;
        }
    }

    /// A member's record must be brought up to date.
    pub(crate) fn handle_update(&mut self, mut record: MemberRecord) {
        record.former.clear();
        if let (Some(leading), Some(id)) = (&mut self.leading, RaftId::new(record.id)) {
            leading.updates.insert(id, record);
            leading.dirty = true;
        }
    }

    /// This process did not run for so long: promises of an earlier set of voters may run that much longer.
    pub(crate) fn handle_clock_gap(&mut self, gap: Duration) {
        if let Some(leading) = &mut self.leading
            && !planted(Mutant::GapEndsWaits)
        {
            leading.voters_not_before = leading.voters_not_before + gap;
        }
    }

    /// What was proposed last is in the log at this index, not committed yet.
    pub(crate) fn handle_proposed(&mut self, index: LogIndex) {
        let Some(leading) = &mut self.leading else { return };
        leading.outstanding = Some(index);
        if let Some(proposing) = leading.proposing.take() {
            leading.dirty |= proposing.is_incomplete;
            let moves = proposing.movers.into_iter().map(|id| (id, index, proposing.grace_ends));
            leading.moves.extend(moves);
            let floors = proposing.losers.into_iter().map(|id| LeaderOutput::RaiseFloor(id, index));
            self.outputs.extend(floors);
        }
    }

    /// Consensus refused what was proposed last.
    pub(crate) fn handle_refused(&mut self, now: Timestamp) {
        if let Some(leading) = &mut self.leading {
            leading.proposing = None;
            leading.look_again(now + RETRY);
        }
    }

    /// When a round is due whatever happens.
    pub(crate) fn poll_round(&self, oldest_write: Option<Timestamp>) -> Option<Timestamp> {
        let leading = self.leading.as_ref()?;
        let moves = leading.moves.iter().map(|&(_, _, at)| at).min();
        earliest(earliest(leading.look_at, moves), self.stalls_at(oldest_write))
    }

    /// When this leader's disk will have kept a write waiting for too long, and another must be asked to lead.
    fn stalls_at(&self, oldest_write: Option<Timestamp>) -> Option<Timestamp> {
        let leading = self.leading.as_ref()?;
        Some((oldest_write? + LEADER_STALL_MAX).max(leading.transfer_at))
    }

    /// Ends operations that took too long.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        self.end_late_operations(now);
    }

    /// When an operation will have taken too long. Rounds have [`Leader::poll_round`].
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        self.operations.poll_timeout()
    }

    /// The next thing to do.
    pub(crate) fn poll_output(&mut self) -> Option<LeaderOutput> {
        self.outputs.pop_front()
    }
}
