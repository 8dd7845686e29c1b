//! Agreement: one replicated log over `raft-rs`, whose types never leave this
//! module.
//!
//! [`Consensus`] is a value like every machine of the core. It differs from
//! plain Raft in three ways:
//!
//! - Heartbeats travel in liveness datagrams. [`Consensus::handle_heartbeat`]
//!   and [`Consensus::handle_heartbeat_ack`] hand Raft what they carried.
//! - Leader failure is found by the liveness machine, which calls
//!   [`Consensus::forget_leader`]. Raft's own election timeout is the slow
//!   fallback. Elections are always asked for by pre-vote, so one wrong node
//!   deposes nobody.
//! - A node without a log waits for a snapshot: it never campaigns, never
//!   votes and never builds a log from its first entry.
//!
//! | role | becomes |
//! | --- | --- |
//! | follower | pre-candidate, when the leader is forgotten or the fallback runs out |
//! | pre-candidate | candidate with a quorum of pre-votes; follower on any leader's message |
//! | candidate | leader with a quorum of votes; follower on any leader's message |
//! | leader | follower on a higher term, without a quorum, or when removed |
//!
//! See the Raft paper, and for pre-vote and leadership transfer Ongaro's
//! thesis, sections 9.6 and 3.10.

mod admission;
mod change;
mod convert;
mod election;
mod generation;
mod heartbeat;
mod inspect;
mod interface;
mod mirror;
mod ready;
mod recover;
mod refused;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use raft::eraftpb::{ConfState, Entry, Message, MessageType, Snapshot};
use raft::{Config, RawNode, ReadOnlyOption, StateRole};

use crate::error::Misbehaviour;
use crate::id::{LogIndex, RaftId, Term};
use crate::io::Token;
use crate::limits::{APPEND_BYTES_MAX, APPENDS_INFLIGHT_MAX, LOG_MIRROR_BYTES_MAX, PROPOSAL_BYTES_MAX};
use crate::rng::{Rng, Seed, Stream};
use crate::time::{Timestamp, earliest};
use crate::wire::raft::{RaftKind, RaftMessage};

use election::{ELECTION_TICKS, HEARTBEAT_TICKS, TICK};
pub use interface::{ConsensusConfig, ConsensusOutput, RaftRole, Sender};
use mirror::Mirror;
use ready::Outstanding;
pub use recover::{BadRecord, RecoveredLog};
pub use refused::ProposeRefused;

/// The consensus machine of one node.
pub struct Consensus {
    id: RaftId,
    durable: bool,
    raw: RawNode<Mirror>,
    now: Timestamp,
    next_tick: Timestamp,
    election: election::Election,
    /// Writes in flight, oldest first.
    outstanding: VecDeque<Outstanding>,
    /// The newest write in flight that carries a new term or vote.
    vote_token: Option<Token>,
    /// Term and vote as last handed to `Persist`.
    hard: (u64, u64),
    next_token: u64,
    /// The commit index in the newest record.
    commit_written: u64,
    /// The longest lease that this node may promise for, as the newest record has it.
    kept_lease: Duration,
    /// The writes in flight of [`Consensus::keep_lease`], oldest first.
    leases_in_flight: VecDeque<Token>,
    /// Configurations since the snapshot, each with the index that made it.
    configurations: VecDeque<(u64, ConfState)>,
    /// Answers of this machine's own that wait for the writes before them.
    replies: Vec<(RaftId, RaftMessage)>,
    outgoing: BTreeMap<u64, snapshot::Outgoing>,
    incoming: Option<snapshot::Incoming>,
    snapshot_asked: bool,
    /// A snapshot is not asked for before this index is applied.
    snapshot_again: LogIndex,
    /// Term, and index of the entry with which this leader began it.
    own_start: Option<(u64, u64)>,
    announced: (RaftRole, Term, Option<RaftId>),
    /// Index of the last entry or snapshot that left through `poll_output`.
    polled: LogIndex,
    outputs: VecDeque<ConsensusOutput>,
}

impl fmt::Debug for Consensus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consensus")
            .field("id", &self.id)
            .field("role", &self.role())
            .field("term", &self.term())
            .field("leader", &self.leader())
            .field("commit", &self.commit())
            .field("last_index", &self.last_index())
            .finish_non_exhaustive()
    }
}

impl Consensus {
    /// A node that begins a cluster, or that waits to be taken into one.
    pub fn new(config: ConsensusConfig, seed: Seed, now: Timestamp) -> Consensus {
        match config.bootstrap {
            Some(state) => {
                let first = convert::first_snapshot(config.id.get(), state);
                Consensus::over(config.id, Mirror::starting_from(first.clone()), seed, now).beginning_with(
                    &first,
                    1,
                    config.kept_lease,
                )
            }
            None => Consensus::over(config.id, Mirror::default(), seed, now),
        }
    }

    fn beginning_with(mut self, snapshot: &Snapshot, next_token: u64, kept_lease: Duration) -> Self {
        (self.next_token, self.kept_lease) = (next_token, kept_lease);
        let meta = snapshot.get_metadata();
        self.configurations.push_back((meta.index, meta.get_conf_state().clone()));
        self.persist_bootstrap(snapshot);
        self
    }

    fn over(id: RaftId, mirror: Mirror, seed: Seed, now: Timestamp) -> Consensus {
        let applied = mirror.snapshot_index();
        let raft_config = Config {
            id: id.get(),
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied,
            max_size_per_msg: APPEND_BYTES_MAX,
            max_inflight_msgs: APPENDS_INFLIGHT_MAX,
            check_quorum: true,
            pre_vote: true,
            read_only_option: ReadOnlyOption::Safe,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&raft_config, mirror, &logger).expect("the configuration and the store are our own");
        Consensus {
            id,
            durable: false,
            raw,
            now,
            next_tick: now + TICK,
            election: election::Election::new(seed, Rng::new(seed, Stream::Consensus)),
            outstanding: VecDeque::new(),
            vote_token: None,
            hard: (0, 0),
            next_token: 1,
            commit_written: 0,
            kept_lease: Duration::ZERO,
            leases_in_flight: VecDeque::new(),
            configurations: VecDeque::new(),
            replies: Vec::new(),
            outgoing: BTreeMap::new(),
            incoming: None,
            snapshot_asked: false,
            snapshot_again: LogIndex(0),
            own_start: None,
            announced: (RaftRole::Follower, Term(0), None),
            polled: LogIndex(applied),
            outputs: VecDeque::new(),
        }
    }

    /// Whether writes outlast the process: then each snapshot is written too,
    /// so that the records before it can go.
    pub fn set_durable(&mut self, durable: bool) {
        self.durable = durable;
    }

    /// Takes a message from a node that the caller knows by its connection.
    pub fn handle_message(
        &mut self,
        now: Timestamp,
        from: impl Into<Sender>,
        message: RaftMessage,
    ) -> Result<(), Misbehaviour> {
        self.advance_clock(now);
        let sender = from.into();
        let verdict = self.check(sender, &message)?;
        let from = sender.id;
        if verdict == admission::Verdict::Ignore {
            return Ok(());
        }
        match message.kind() {
            RaftKind::Snapshot => self.take_chunk(from, message),
            RaftKind::SnapshotAck => self.take_chunk_ack(from, &message),
            RaftKind::Vote | RaftKind::PreVote => self.step_request_for_vote(from, message),
            RaftKind::PreVoteResponse if self.comes_too_late(&message) => {}
            _ => {
                let known = self.is_voter(from.get());
                self.count_twice(from, &message);
                self.step(convert::to_raft(message, from.get(), known));
            }
        }
        Ok(())
    }

    /// This write, and all before it, are stable.
    pub fn handle_persisted(&mut self, now: Timestamp, token: Token) {
        self.advance_clock(now);
        self.settle_writes(token);
    }

    /// When [`Consensus::handle_timeout`] wants to be called; `None` while nothing waits for time.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let ticks = self.needs_ticks().then_some(self.next_tick);
        earliest(ticks, self.election.campaign_at())
    }

    /// The deadline of [`Consensus::poll_timeout`] has passed. Early calls do no harm.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.advance_clock(now);
        if self.election.campaign_at().is_some_and(|at| at <= now) {
            self.campaign_again();
        }
        if self.needs_ticks() && self.next_tick <= now {
            self.tick();
            // Ticks that were missed stay missed: a node that slept does not
            // know that its leader did.
            self.next_tick = now + TICK;
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<ConsensusOutput> {
        if self.outputs.is_empty() {
            self.pump();
        }
        let output = self.outputs.pop_front()?;
        match &output {
            ConsensusOutput::Apply { index, .. }
            | ConsensusOutput::ConfChanged { index }
            | ConsensusOutput::InstallSnapshot { index, .. } => self.polled = *index,
            _ => {}
        }
        Some(output)
    }

    /// Appends a proposal to the leader's log; gives the index that it has
    /// there. Only [`ConsensusOutput::Apply`] with the same index and term says
    /// that it is committed.
    pub fn propose(&mut self, now: Timestamp, data: Bytes) -> Result<LogIndex, ProposeRefused> {
        self.advance_clock(now);
        if data.len() > PROPOSAL_BYTES_MAX {
            return Err(ProposeRefused::TooLarge { bytes: data.len() });
        }
        self.propose_entry(Entry { data, ..Entry::default() })
    }

    fn propose_entry(&mut self, entry: Entry) -> Result<LogIndex, ProposeRefused> {
        self.may_propose()?;
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.id.get();
        message.set_entries(vec![entry].into());
        match self.raw.raft.step(message) {
            Ok(()) => {
                self.after_step();
                Ok(self.last_index())
            }
            Err(_) => Err(ProposeRefused::Busy),
        }
    }

    fn may_propose(&self) -> Result<(), ProposeRefused> {
        if self.raw.raft.state != StateRole::Leader {
            return Err(ProposeRefused::NotLeader);
        }
        if self.raw.raft.lead_transferee.is_some() {
            return Err(ProposeRefused::Transferring);
        }
        let unstable = self.raw.raft.raft_log.unstable.entries_size;
        if self.raw.store().bytes() + unstable > LOG_MIRROR_BYTES_MAX {
            return Err(ProposeRefused::Busy);
        }
        Ok(())
    }

    /// Begins to hand leadership to this voter; proposals are refused until it
    /// leads, or for a second if it never does.
    pub fn transfer_leader(&mut self, now: Timestamp, to: RaftId) -> Result<(), ProposeRefused> {
        self.advance_clock(now);
        self.may_propose()?;
        if to == self.id || !self.voters().contains(&to) {
            return Err(ProposeRefused::Invalid("leadership goes to another voter only"));
        }
        self.raw.transfer_leader(to.get());
        self.election.handle_transfer();
        self.after_step();
        Ok(())
    }

    /// This node.
    pub fn id(&self) -> RaftId {
        self.id
    }

    /// The newest term, perhaps not stable yet.
    pub fn term(&self) -> Term {
        Term(self.raw.raft.term)
    }

    /// This node's part in the term.
    pub fn role(&self) -> RaftRole {
        match self.raw.raft.state {
            StateRole::Follower => RaftRole::Follower,
            StateRole::PreCandidate => RaftRole::PreCandidate,
            StateRole::Candidate => RaftRole::Candidate,
            StateRole::Leader => RaftRole::Leader,
        }
    }

    /// The leader in this term, if known; perhaps this node.
    pub fn leader(&self) -> Option<RaftId> {
        RaftId::new(self.raw.raft.leader_id)
    }

    /// Index of the last entry known to be committed.
    pub fn commit(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.committed)
    }

    /// Index of the last entry or snapshot that left through [`Consensus::poll_output`].
    pub fn applied(&self) -> LogIndex {
        self.polled
    }

    /// Index of the last entry in this node's log.
    pub fn last_index(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.last_index())
    }

    /// Voters; in a joint change those that it leads to.
    pub fn voters(&self) -> BTreeSet<RaftId> {
        convert::ids(&self.raw.raft.prs().conf().to_conf_state().voters)
    }

    /// Voters that a joint change is about to retire; empty outside of one.
    pub fn outgoing_voters(&self) -> BTreeSet<RaftId> {
        convert::ids(&self.raw.raft.prs().conf().to_conf_state().voters_outgoing)
    }

    /// Members without a vote.
    pub fn learners(&self) -> BTreeSet<RaftId> {
        convert::ids(&self.raw.raft.prs().conf().to_conf_state().learners)
    }

    /// Whether a joint change is half done.
    pub fn is_joint(&self) -> bool {
        !self.raw.raft.prs().conf().to_conf_state().voters_outgoing.is_empty()
    }

    /// Whether a change of members is under way, or may be: a new leader cannot tell at first.
    pub fn conf_change_pending(&self) -> bool {
        self.raw.raft.has_pending_conf() || self.is_joint()
    }

    /// On the leader: up to where this member's log is known to agree. 0 elsewhere.
    pub fn matched(&self, peer: RaftId) -> LogIndex {
        if self.raw.raft.state != StateRole::Leader {
            return LogIndex(0);
        }
        LogIndex(self.raw.raft.prs().get(peer.get()).map_or(0, |progress| progress.matched))
    }

    /// On the leader: index of the entry with which it began its term. Once
    /// that is applied, it knows every commit of its predecessors.
    pub fn own_term_start(&self) -> Option<LogIndex> {
        self.own_start.map(|(_, index)| LogIndex(index))
    }

    /// Since when the oldest write waits to be stable; `None` if all are.
    pub fn oldest_write(&self) -> Option<Timestamp> {
        self.outstanding.front().map(|write| write.since)
    }

    /// To whom leadership is being handed.
    pub fn transferring(&self) -> Option<RaftId> {
        self.raw.raft.lead_transferee.and_then(RaftId::new)
    }

    fn advance_clock(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    fn is_voter(&self, id: u64) -> bool {
        self.raw.raft.prs().conf().voters().contains(id)
    }

    /// Hands Raft a message that was admitted.
    fn step(&mut self, message: Message) {
        // Raft refuses responses of nodes that it does not track; nothing is lost with them.
        let _ = self.raw.step(message);
        self.after_step();
    }

    /// What must hold after every call into Raft.
    fn after_step(&mut self) {
        let (term, leads) = (self.raw.raft.term, self.raw.raft.state == StateRole::Leader);
        if self.raw.raft.state == StateRole::Candidate {
            self.election.handle_stand(self.now, term);
        }
        if !leads {
            let led = self.own_start.take().is_some();
            self.outgoing.clear();
            if led && self.raw.raft.leader_id == 0 {
                self.election.leave_to_others(self.now);
            }
        } else if self.own_start.is_none_or(|(started, _)| started != term) {
            self.own_start = Some((term, self.raw.raft.raft_log.last_index()));
            self.election.handle_lead();
        }
        if self.raw.raft.leader_id != 0 {
            self.election.leader_found();
        }
        // A rejection can take the next index below what is matched, from
        // where it would be sent again and again.
        if leads {
            for (_, progress) in self.raw.raft.mut_prs().iter_mut() {
                progress.next_idx = progress.next_idx.max(progress.matched + 1);
            }
        }
    }
}
