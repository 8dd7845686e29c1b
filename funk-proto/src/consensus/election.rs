//! Who campaigns, and when. The liveness machine says that the leader is
//! gone; Raft's own timeout is the fallback.

use std::collections::{BTreeSet, VecDeque};
use std::hash::Hasher;
use std::time::Duration;

use raft::StateRole;
use raft::eraftpb::{Message, MessageType};
use siphasher::sip::SipHasher13;

use super::ready::Outstanding;
use super::{Consensus, convert};
use crate::id::RaftId;
use crate::mutate::{Mutant, planted};
use crate::rng::{Rng, Seed};
use crate::time::Timestamp;
use crate::wire::raft::{RaftKind, RaftMessage};

/// Raft's tick. Coarse, since ticks only drive fallbacks.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// Ticks without a leader after which Raft itself campaigns, at the least:
/// one second, up to twice that. Also the leader's patience with its quorum.
pub(super) const ELECTION_TICKS: usize = 10;
/// Raft's heartbeats are not sent; they only need to be rarer than nothing.
pub(super) const HEARTBEAT_TICKS: usize = ELECTION_TICKS - 1;

/// How long the survivor of the next rank waits: longer than a round trip
/// between neighbours, so that the first one usually wins alone.
const RANK_DELAY: Duration = Duration::from_millis(10);
const RETRY_MIN: Duration = Duration::from_millis(15);
const RETRY_MAX: Duration = Duration::from_millis(45);
/// A candidate waits for votes that must be made stable first; cutting it
/// short with a new campaign could go on for ever. A vote that is split goes
/// unnoticed for this long. A leader that leads no more leaves the others as long.
const CANDIDATE_PATIENCE: Duration = Duration::from_millis(75);
/// The lease for which these waits are made. A longer one says that the network or the machines are slower.
const PACE: Duration = Duration::from_millis(150);
/// With each campaign that failed the waits double, so often at the most: what made it fail was perhaps the load of
/// too many campaigns.
const DOUBLINGS_MAX: u32 = 4;
/// So many campaigns may fail before the waits grow: two candidates of a quiet cluster part within that.
const FREE_FAILURES: u32 = 2;

/// A node that lost leadership this often within [`UNSTEADY`] leaves it to others: its machine or its links are not up
/// to it, and each loss is a failover for everybody.
const LOSSES: usize = 2;
const UNSTEADY: Duration = Duration::from_secs(30);
/// How long it lets the others try first: several campaigns. If none of them can win, it leads again.
const STAND_BACK: Duration = Duration::from_millis(300);

pub(super) struct Election {
    seed: Seed,
    rng: Rng,
    /// When to campaign next; set from the moment the leader is forgotten until there is one.
    campaign_at: Option<Timestamp>,
    /// When the last campaign began.
    campaigned: Timestamp,
    /// Campaigns since there was a leader.
    campaigns: u32,
    /// The cluster's lease.
    lease: Duration,
    /// Time in which a majority answers, as far as it was measured: zero on a near network.
    round_trip: Duration,
    /// The term of the last election in which this node stood, and since when.
    stood: (u64, Timestamp),
    /// This node let another go first since its last campaign.
    made_way: bool,
    /// It asked whether it would be elected, and lets one of those that ask at the same time go first.
    yields: bool,
    /// When this node lost leadership, the latest last.
    losses: VecDeque<Timestamp>,
    /// It gave leadership away: that is no loss.
    transferred: bool,
}

impl Election {
    pub(super) fn new(seed: Seed, rng: Rng) -> Self {
        Self {
            seed,
            rng,
            campaign_at: None,
            campaigned: Timestamp::ZERO,
            campaigns: 0,
            lease: PACE,
            round_trip: Duration::ZERO,
            stood: (0, Timestamp::ZERO),
            made_way: false,
            yields: false,
            losses: VecDeque::new(),
            transferred: false,
        }
    }

    pub(super) fn campaign_at(&self) -> Option<Timestamp> {
        self.campaign_at
    }

    pub(super) fn leader_found(&mut self) {
        self.campaign_at = None;
        self.campaigns = 0;
        (self.made_way, self.yields) = (false, false);
    }

    /// This node led until now, and there is no other leader yet. Nobody's silence would tell it that nobody
    /// came: a late word of a higher term may have come from a candidate that cannot win.
    pub(super) fn leave_to_others(&mut self, now: Timestamp) {
        if !std::mem::take(&mut self.transferred) {
            self.losses.push_back(now);
            if self.losses.len() > LOSSES {
                self.losses.pop_front();
            }
        }
        self.campaign_at = Some(now + self.paced(CANDIDATE_PATIENCE) + self.election_time() + self.stand_back(now));
    }

    /// Another voter was asked to lead.
    pub(super) fn handle_transfer(&mut self) {
        self.transferred = true;
    }

    /// This node leads now.
    pub(super) fn handle_lead(&mut self) {
        self.transferred = false;
    }

    /// How long this node lets others go first because it did not keep leadership.
    fn stand_back(&self, now: Timestamp) -> Duration {
        let is_unsteady = self.losses.len() == LOSSES && self.losses.iter().all(|&lost| now < lost + UNSTEADY);
        if is_unsteady { STAND_BACK } else { Duration::ZERO }
    }

    /// This wait, at the pace of the cluster's lease.
    fn paced(&self, wait: Duration) -> Duration {
        if self.lease <= PACE { wait } else { wait.mul_f64(self.lease.as_secs_f64() / PACE.as_secs_f64()) }
    }

    /// The same, doubled for the campaigns that failed.
    fn backed_off(&self, wait: Duration) -> Duration {
        let failures = self.campaigns.saturating_sub(FREE_FAILURES).min(DOUBLINGS_MAX);
        if planted(Mutant::ElectionsNotBackedOff) { wait } else { self.paced(wait) * (1 << failures) }
    }

    /// How long the messages of an election are on their way: asking, and being voted for.
    fn election_time(&self) -> Duration {
        self.round_trip * 2
    }

    /// The next campaign begins after `time`, in which its messages are on their way, or up to twice as late:
    /// candidates that are so far apart hear of each other.
    fn retry(&mut self, now: Timestamp, time: Duration) {
        let (least, most) = (self.backed_off(RETRY_MIN) + time, self.backed_off(RETRY_MAX) + time * 2);
        self.campaign_at = Some(now + self.rng.between(least, most));
    }

    /// This node stands for election.
    pub(super) fn handle_stand(&mut self, now: Timestamp, term: u64) {
        if self.stood.0 < term {
            self.stood = (term, now);
        }
    }

    /// How long it took a majority to vote for this node, which now leads.
    fn elected_in(&self, now: Timestamp, term: u64) -> Duration {
        if self.stood.0 == term { now.since(self.stood.1) } else { Duration::ZERO }
    }

    /// Raft's random timeout made a pure function, so that a run repeats from its seed.
    fn timeout_ticks(&self, id: u64, term: u64, role: StateRole) -> usize {
        let mut hasher = SipHasher13::new();
        hasher.write(&self.seed.0);
        hasher.write_u64(id);
        hasher.write_u64(term);
        hasher.write_u8(role as u8);
        let spread = hasher.finish() % ELECTION_TICKS as u64;
        ELECTION_TICKS + usize::try_from(spread).expect("below the count of ticks")
    }
}

impl Consensus {
    /// The leader is held for dead. A voter campaigns when the voters of lower
    /// rank among `unsuspected` have had their chance, and again until there is
    /// a leader. Any message of a leader in this term or a later one undoes it.
    /// Called again meanwhile, it changes nothing.
    pub fn forget_leader(&mut self, now: Timestamp, unsuspected: &BTreeSet<RaftId>) {
        self.advance_clock(now);
        if self.raw.raft.state == StateRole::Leader || self.election.campaign_at.is_some() {
            return;
        }
        if self.raw.raft.state == StateRole::Follower {
            self.raw.raft.leader_id = raft::INVALID_ID;
        }
        if !self.raw.raft.promotable() {
            return;
        }
        let voters = self.voters();
        let before = unsuspected.iter().filter(|&&id| id < self.id && voters.contains(&id)).count();
        let rank = u32::try_from(before).unwrap_or(u32::MAX);
        let apart = self.election.paced(RANK_DELAY) + self.election.round_trip;
        let wait = apart.saturating_mul(rank) + self.election.stand_back(self.now);
        self.election.campaign_at = Some(self.now + wait);
        if wait.is_zero() {
            self.campaign_again();
        }
    }

    /// The cluster's lease: elections keep its pace.
    pub fn set_lease(&mut self, lease: Duration) {
        self.election.lease = lease;
    }

    /// How long a majority takes to answer, as far as it was measured: candidates wait for their votes, and make way
    /// for others, that much longer.
    pub fn set_round_trip(&mut self, round_trip: Duration) {
        self.election.round_trip = round_trip;
    }

    /// How long it took a majority to vote for this node, if it leads.
    pub fn elected_in(&self) -> Duration {
        self.election.elected_in(self.now, self.raw.raft.term)
    }

    /// This leader is heard by nobody, or hears nobody: it leads no more. It
    /// campaigns again when the others have had time to.
    pub fn resign(&mut self, now: Timestamp) {
        self.advance_clock(now);
        if self.raw.raft.state != StateRole::Leader {
            return;
        }
        let term = self.raw.raft.term;
        self.raw.raft.become_follower(term, raft::INVALID_ID);
        self.after_step();
    }

    pub(super) fn campaign_again(&mut self) {
        let raft = &self.raw.raft;
        if raft.state == StateRole::Leader || raft.leader_id != 0 || !raft.promotable() {
            self.election.leader_found();
            return;
        }
        let patience = self.election.backed_off(CANDIDATE_PATIENCE) + self.election.election_time();
        let until = self.election.campaigned + patience;
        if raft.state == StateRole::Candidate && self.now < until {
            self.election.retry(until, Duration::ZERO);
            return;
        }
        // Asking again costs nothing while nobody stands.
        self.election.retry(self.now, self.election.round_trip);
        if self.may_campaign() {
            self.campaign();
        }
    }

    fn campaign(&mut self) {
        self.election.campaigned = self.now;
        (self.election.made_way, self.election.yields) = (false, false);
        self.election.campaigns = self.election.campaigns.saturating_add(1);
        if planted(Mutant::ForcedByOneWitness) {
            let mut order = Message { from: self.id.get(), to: self.id.get(), ..Message::default() };
            order.set_msg_type(MessageType::MsgTimeoutNow);
            let _ = self.raw.raft.step(order);
        }
        // Refused only to nodes that may not campaign, which were asked above.
        let _ = self.raw.campaign();
        self.after_step();
    }

    /// A peer asks for a vote. Who grants it makes way: two candidates of one
    /// term may leave an even number of survivors without a majority for either.
    /// It does so once between two campaigns: a candidate that cannot win must not hold it up for ever.
    ///
    /// Of two that ask at the same time, and grant it to each other, the one with the smaller id stands.
    pub(super) fn step_request_for_vote(&mut self, from: RaftId, message: RaftMessage) {
        let known = self.is_voter(from.get());
        let asks_too = self.raw.raft.state == StateRole::PreCandidate && message.kind() == RaftKind::PreVote;
        self.step(convert::to_raft(message, from.get(), known));
        let granted = |answer: &Message| {
            let kind = answer.get_msg_type();
            let is_answer =
                matches!(kind, MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse);
            is_answer && !answer.reject && answer.to == from.get()
        };
        if self.election.campaign_at.is_none() || !self.raw.raft.msgs.iter().any(granted) {
            return;
        }
        self.election.yields |= asks_too && from < self.id && !planted(Mutant::CandidatesNeverYield);
        if !std::mem::replace(&mut self.election.made_way, true) {
            self.election.retry(self.now, self.election.election_time());
        }
    }

    /// Whether this says that the node would be elected, which has let another go first.
    pub(super) fn comes_too_late(&self, message: &RaftMessage) -> bool {
        self.election.yields && message.is_granted_pre_vote()
    }

    /// Nothing, unless a bug is planted: then a vote counts for a second voter.
    pub(super) fn count_twice(&mut self, from: RaftId, message: &RaftMessage) {
        if !planted(Mutant::VoteCountedTwice) || !message.is_granted_vote() {
            return;
        }
        if let Some(other) = self.voters().into_iter().find(|&id| id != from && id != self.id) {
            self.step(convert::to_raft(message.clone(), other.get(), true));
        }
    }

    /// A sole voter needs nobody's vote, and leads as soon as its log is stable.
    pub(super) fn campaign_alone(&mut self) {
        if self.raw.raft.state != StateRole::Leader && self.is_alone() && self.may_campaign() {
            self.campaign();
        }
    }

    pub(super) fn tick(&mut self) {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader && !self.may_campaign() {
            return;
        }
        let ticks = self.election.timeout_ticks(raft.id, raft.term, raft.state);
        self.raw.raft.set_randomized_election_timeout(ticks);
        self.raw.tick();
        self.after_step();
        self.check_stalled_snapshots();
    }

    /// A node without a vote or without anyone to hear from needs no clock.
    pub(super) fn needs_ticks(&self) -> bool {
        let raft = &self.raw.raft;
        let others = raft.prs().iter().len() > 1;
        if raft.state == StateRole::Leader { others } else { raft.promotable() }
    }

    /// Raft panics if it campaigns over a snapshot that is not applied, or wins
    /// over a log that is not stable.
    pub(super) fn may_campaign(&self) -> bool {
        self.raw.raft.promotable() && !self.is_restoring() && (!self.is_alone() || self.is_settled())
    }

    fn is_restoring(&self) -> bool {
        let unstable = self.raw.raft.raft_log.unstable_snapshot().is_some();
        unstable || self.outstanding.iter().any(|write| write.snapshot.is_some())
    }

    /// Whether the snapshot with which its log begins is not stable yet.
    pub fn is_beginning(&self) -> bool {
        self.is_restoring() || self.outstanding.iter().any(Outstanding::is_bootstrap)
    }

    /// Whether all that Raft knows is stable.
    pub(super) fn is_settled(&self) -> bool {
        let raft = &self.raw.raft;
        self.outstanding.is_empty()
            && raft.raft_log.unstable_entries().is_empty()
            && raft.raft_log.unstable_snapshot().is_none()
            && self.hard == (raft.term, raft.vote)
    }

    fn is_alone(&self) -> bool {
        let voters = self.raw.raft.prs().conf().voters().ids();
        voters.contains(self.id.get()) && voters.iter().count() == 1
    }
}
