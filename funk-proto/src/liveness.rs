//! Liveness: who is silent, and who holds a lease.
//!
//! One star of UDP datagrams between the leader and all members carries both.
//! A heartbeat asks for two things at once: a voter's promise to report this
//! leader's grants to any later leader, and a member's wish for a lease. The
//! ack gives both; the next heartbeat grants. Holders count from what they
//! sent, waiters from what they received or answered, times κ; that is the
//! whole use of the drift bound. `docs/ownership.md` has every rule with its reason.
//!
//! | part | holds |
//! |---|---|
//! | `authority` | the leader: authority, grants, waits |
//! | `quorum_contact` | the leader: whether it is heard, and falls silent if not |
//! | `followed` | the member: its leader, and since when that is not heard |
//! | `link` | what was sent to a peer and heard of it |
//! | `peer_clock` | whether this node's clock stood still, by those of others |
//! | `promise` | the voter: what it promised, and tells with its vote |
//! | `member` | the member: its answers, and its lease |
//! | `strain` | the leader: answers that come late |
//! | `patience` | how long others may be silent |
//! | `fading` | delays that were measured |
//! | this file | roles and timers |

mod authority;
mod divergence;
mod fading;
mod followed;
mod history;
mod interface;
mod link;
mod member;
mod patience;
mod peer_clock;
mod promise;
mod quorum;
mod quorum_contact;
mod resign;
mod sent;
mod strain;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use authority::Authority;
pub use authority::MemberView;
use fading::Fading;
use followed::Followed;
use history::History;
pub use interface::{Ack, LivenessOutput, Word};
use link::Link;
pub use strain::LateAnswer;
use strain::Strain;

use crate::config::{ClusterTiming, Timing};
use crate::id::{BootId, LogIndex, RaftId, Term};
use crate::mutate::{Mutant, planted};
use crate::time::{Timestamp, earliest};

/// The liveness machine of one node.
#[derive(Debug)]
pub struct Liveness {
    me: RaftId,
    boot: BootId,
    /// The intervals that this node was given.
    configured: Timing,
    /// Those that hold under the cluster's present lease.
    timing: Timing,
    /// Lease and drift bound are those of the replicated state.
    timing_is_replicated: bool,
    /// No lease of this cluster is shorter or longer.
    lease_min: Duration,
    lease_max: Duration,
    /// The longest lease whose promise this node would honour after a restart: it is on its disk.
    kept_lease: Duration,
    /// The one that is on its way to the disk last, or there.
    lease_to_keep: Duration,
    /// Leases on their way to the disk.
    leases_in_flight: u32,
    /// How late timers of this process fired.
    lateness: Fading,
    /// How long the leader took to answer, while this node followed.
    to_leader: Fading,
    strain: Strain,
    counter: u64,
    history: History,
    links: BTreeMap<RaftId, Link>,
    followed: Option<Followed>,
    /// Until when a leader may count on this node to report its grants.
    promise_until: Timestamp,
    #[cfg(funk_mutate)]
    promise_at_pre_vote: Timestamp,
    lease_until: Timestamp,
    /// The latest promise among the votes counted in this term.
    votes: (Term, Timestamp),
    authority: Option<Authority>,
    heartbeats_sent: u64,
    heartbeats_answered: u64,
    /// How long the one had been silent that was given up last, until somebody asks.
    silence: Option<Duration>,
    outputs: VecDeque<LivenessOutput>,
}

impl Liveness {
    /// A machine that holds, promises and suspects nothing, and never restarts.
    pub fn new(me: RaftId, boot: BootId, timing: Timing) -> Self {
        Self {
            me,
            boot,
            configured: timing,
            timing,
            timing_is_replicated: false,
            lease_min: timing.lease,
            lease_max: timing.lease_cap(),
            kept_lease: Duration::MAX,
            lease_to_keep: Duration::MAX,
            leases_in_flight: 0,
            lateness: Fading::default(),
            to_leader: Fading::default(),
            strain: Strain::default(),
            counter: 0,
            history: History::default(),
            links: BTreeMap::new(),
            followed: None,
            promise_until: Timestamp::ZERO,
            #[cfg(funk_mutate)]
            promise_at_pre_vote: Timestamp::ZERO,
            lease_until: Timestamp::ZERO,
            votes: (Term(0), Timestamp::ZERO),
            authority: None,
            heartbeats_sent: 0,
            heartbeats_answered: 0,
            silence: None,
            outputs: VecDeque::new(),
        }
    }

    /// The cluster's leases and drift bound, from the replicated state. Returns the intervals that hold from now on.
    pub fn set_cluster_timing(&mut self, cluster: ClusterTiming) -> Timing {
        let ClusterTiming { lease, lease_min, lease_max, drift_ppm } = cluster;
        self.timing = Timing { lease_max, drift_ppm, ..self.configured.stretched(lease) };
        (self.lease_min, self.lease_max) = (lease_min, lease_max);
        self.timing_is_replicated = true;
        self.timing
    }

    /// Whether a datagram is new: of the newest boot of its sender, and with a
    /// higher counter than any before.
    pub fn admit(&mut self, from: RaftId, boot: BootId, counter: u64) -> bool {
        self.links.entry(from).or_default().admit(boot, counter)
    }

    /// The boot that sent this peer's newest datagram.
    pub fn heard_boot(&self, id: RaftId) -> Option<BootId> {
        self.links.get(&id).and_then(Link::boot)
    }

    /// A datagram came that its sender stamped `theirs`; it answers the one of
    /// ours with this counter, if any. Tells for how long this node's clock
    /// stood still, if it did.
    pub fn compare_clocks(
        &mut self,
        now: Timestamp,
        from: RaftId,
        theirs: Timestamp,
        answers: Option<u64>,
    ) -> Option<Duration> {
        let lost = self.links.get_mut(&from)?.compare(now, theirs, answers, self.timing.drift_ppm);
        lost.filter(|_| !planted(Mutant::StoppedClockUnnoticed))
    }

    /// Forgets a peer that is no longer in any table.
    pub fn forget_peer(&mut self, id: RaftId) {
        self.links.remove(&id);
    }

    fn send(&mut self, now: Timestamp, to: RaftId, word: Word) {
        self.counter += 1;
        let counter = self.counter;
        // As much of it as the datagram says.
        let lease = if let Word::Beat { lease, .. } = word { lease } else { Duration::ZERO };
        let lease = Duration::from_micros(u64::try_from(lease.as_micros()).unwrap_or(u64::MAX));
        self.links.entry(to).or_default().sent.record(counter, now, lease);
        self.outputs.push_back(LivenessOutput::Send { to, counter, word });
    }

    /// This node's shards may be served while the clock reads less.
    pub fn lease_until(&self) -> Timestamp {
        if planted(Mutant::LeaseNeverEnds) && self.lease_until > Timestamp::ZERO {
            return Timestamp::MAX;
        }
        self.lease_until
    }

    /// The index that this node has applied, and the hash of all up to it; both go out with each ack.
    pub fn set_applied(&mut self, applied: LogIndex, hash: u64) {
        self.history.note(applied, hash);
        self.extend_own_lease();
    }

    // ---- roles ----

    /// A vote for this candidate was granted with this much of a promise left.
    pub fn handle_vote(&mut self, now: Timestamp, term: Term, remaining: Duration) {
        if term > self.votes.0 {
            self.votes = (term, Timestamp::ZERO);
        }
        if term == self.votes.0 {
            self.votes.1 = self.votes.1.max(now + remaining);
        }
    }

    /// This node leads now, since a majority answered within `elected_in`. It inherits the promises of its voters and
    /// its own.
    pub fn lead(&mut self, now: Timestamp, term: Term, elected_in: Duration) {
        let voted = if self.votes.0 == term { self.votes.1 } else { Timestamp::ZERO };
        let voted = if planted(Mutant::PromisesNotInherited) { Timestamp::ZERO } else { voted };
        let own = if planted(Mutant::OwnPromiseLeftOut) { Timestamp::ZERO } else { self.promise_until };
        // The answers to its first heartbeats will take as long as the votes did.
        let first_answer = if planted(Mutant::RoundTripsIgnored) { Duration::ZERO } else { elected_in };
        let first_answer = now + first_answer.min(self.timing.lease_cap());
        self.authority = Some(Authority::new(term, voted.max(own), now, first_answer));
        self.strain.clear();
    }

    /// This node follows, or has no leader. Its lease and promise keep their ends.
    pub fn follow(&mut self, now: Timestamp, leader: Option<RaftId>) {
        if self.authority.is_some() {
            let round_trip = self.round_trip();
            (self.authority, self.followed) = (None, None);
            self.to_leader.note(now, round_trip, self.timing.lease_cap());
        }
        let Some(leader) = leader else { return };
        // One that was given up and is found again, by a message that was long on its way, may fall silent again.
        if self.followed.is_none_or(|followed| followed.leader != leader || followed.silent) {
            self.followed = Some(Followed::new(leader, now, self.timing.lease));
        }
    }

    /// The first entry of the own term is applied: grants may begin, at once.
    pub fn set_ready(&mut self, now: Timestamp) {
        let Some(authority) = &mut self.authority else { return };
        authority.ready = true;
        authority.next_beat = now;
        self.extend_own_lease();
        self.handle_timeout(now);
    }

    /// The members that get heartbeats, this node among them, and the voters whose promises count.
    pub fn set_members(
        &mut self,
        now: Timestamp,
        members: &[MemberView],
        voters: BTreeSet<RaftId>,
        outgoing: BTreeSet<RaftId>,
    ) {
        let Some(authority) = &mut self.authority else { return };
        // The former leader has been silent since it was last heard, not since
        // this election; but that counts once, not when it comes back later.
        let followed = self.followed.take();
        authority.set_members(now, members, |id| followed.and_then(|followed| followed.heard(id)).unwrap_or(now));
        authority.set_voters(now, voters, outgoing);
        self.extend_own_lease();
    }

    /// No grant to this member before it has applied `floor`.
    pub fn raise_floor(&mut self, id: RaftId, floor: LogIndex) {
        if let Some(authority) = &mut self.authority
            && !planted(Mutant::FloorNotRaised)
        {
            authority.raise_floor(id, floor);
        }
    }

    // ---- the leader's side ----

    /// An ack in the leader's own term.
    pub fn handle_ack(&mut self, now: Timestamp, from: RaftId, boot: BootId, ack: Ack) {
        let Ack { counter, echo, applied, promise } = ack;
        let Some(sent) = self.links.get(&from).and_then(|link| link.sent.get(echo)) else { return };
        let Some(authority) = &mut self.authority else { return };
        authority.contact.hear(now, from);
        self.note_round_trip(now, from, now.since(sent.at));
        let Some(authority) = &mut self.authority else { return };
        let from_when = if planted(Mutant::AuthorityFromReceipt) { now } else { sent.at };
        // The answer is worth the lease that the heartbeat said, or less if its sender could not promise as much.
        let mut worth = promise.map_or(sent.lease, |promise| promise.min(sent.lease));
        if planted(Mutant::AckCountsPresentLease) {
            worth = self.timing.lease;
        }
        authority.count_ack(from, from_when + worth);
        if !authority.note_ack(now, from, boot, counter, applied) {
            return;
        }
        if let Some(age) = authority.note_echo(now, from, sent.at)
            && age > self.lease_min / 2
        {
            self.strain.note(now, from, age);
            self.outputs.push_back(LivenessOutput::AnswerLate { member: from });
        }
        let short = authority.lease_is_short(from, now, self.timing.liveness_interval);
        let grant = if short { authority.take_grant(now, from, &self.timing) } else { None };
        if let Some(grant) = grant {
            self.send(now, from, Word::Grant(grant));
        }
        self.extend_own_lease();
    }

    /// The leader's own shards are served within its authority, under the rules of a grant.
    fn extend_own_lease(&mut self) {
        if let Some(authority) = &self.authority
            && authority.covers(self.me, self.boot, self.history.last().0)
        {
            let own = if planted(Mutant::OwnLeaseWithoutAcks) {
                authority.next_beat + self.timing.lease
            } else {
                authority.until
            };
            self.lease_until = self.lease_until.max(own);
        }
    }

    fn beat(&mut self, now: Timestamp) {
        let (lease, drift_ppm) = (self.timing.lease, self.timing.drift_ppm);
        let promised = self.promise(now, lease);
        let me = self.me;
        let Some(authority) = &mut self.authority else { return };
        authority.longest_lease = authority.longest_lease.max(lease);
        authority.count_ack(me, now + promised);
        authority.next_beat = now + self.timing.liveness_interval;
        let term = authority.term;
        let mut beats = Vec::with_capacity(authority.members.len());
        let others: Vec<RaftId> = authority.members.keys().copied().filter(|&id| id != me).collect();
        for id in others {
            let grant = authority.take_grant(now, id, &self.timing);
            beats.push((id, Word::Beat { term, lease, drift_ppm, grant }));
        }
        for (id, beat) in beats {
            self.heartbeats_sent += 1;
            self.send(now, id, beat);
        }
        self.extend_own_lease();
    }

    /// Until when a quorum backs this leader.
    pub fn authority_until(&self) -> Timestamp {
        self.authority.as_ref().map_or(Timestamp::ZERO, |authority| authority.until)
    }

    /// A takeover may be proposed when the clock is past this: every promise
    /// that the votes reported has run out.
    pub fn inherited_until(&self) -> Timestamp {
        self.authority.as_ref().map_or(Timestamp::MAX, |authority| authority.inherited_until)
    }

    /// The longest lease that this leader's heartbeats of this term said.
    pub fn longest_lease(&self) -> Duration {
        self.authority.as_ref().map_or(Duration::ZERO, |authority| authority.longest_lease)
    }

    /// The answers to this leader that came late, oldest first; those before it led are not among them.
    pub fn late_answers(&self) -> impl DoubleEndedIterator<Item = &LateAnswer> {
        self.strain.iter()
    }

    /// A takeover from that boot may be proposed when the clock is past this.
    pub fn grant_end(&self, id: RaftId, boot: BootId) -> Timestamp {
        self.authority.as_ref().map_or(Timestamp::MAX, |authority| authority.grant_end(id, boot))
    }

    /// Whether the member has answered this leader since it is up, and has
    /// applied all that it needs for a lease.
    pub fn is_current(&self, id: RaftId) -> bool {
        let tracked = self.authority.as_ref().and_then(|authority| authority.members.get(&id));
        tracked.is_some_and(authority::Tracked::is_current)
    }

    /// Whether this leader holds the member for silent.
    pub fn is_silent(&self, id: RaftId) -> bool {
        let tracked = self.authority.as_ref().and_then(|authority| authority.members.get(&id));
        tracked.is_some_and(|tracked| tracked.reported_silent)
    }

    /// The leader or a member is given up before its silence was long enough: notes how long that was.
    pub fn note_given_up(&mut self, now: Timestamp, id: RaftId) {
        let heard = self.followed.and_then(|followed| followed.heard(id));
        if let Some(heard) = heard.or_else(|| self.last_seen(id)) {
            self.silence = Some(now.since(heard));
        }
    }

    /// How long the leader or the member had been silent that was given up
    /// last; each is told once. For measurements only.
    pub fn take_silence(&mut self) -> Option<Duration> {
        self.silence.take()
    }

    // ---- time ----

    /// The process did not run for `gap`: what is held is dropped, what is waited for is prolonged.
    pub fn handle_clock_gap(&mut self, now: Timestamp, gap: Duration) {
        if !planted(Mutant::GapKeepsLease) {
            self.lease_until = Timestamp::ZERO;
        }
        if !planted(Mutant::GapEndsWaits) {
            self.promise_until = self.promise_until + gap;
        }
        for link in self.links.values_mut() {
            link.forget_sent();
        }
        if let Some(followed) = &mut self.followed {
            followed.prolong(now, gap);
        }
        if let Some(authority) = &mut self.authority {
            authority.clock_gap(now, gap);
        }
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self.authority.is_some() {
            self.lead_timeout(now);
            return;
        }
        let Some(timeout) = self.followed.as_ref().map(|followed| self.leader_patience(followed)) else { return };
        if let Some(followed) = &mut self.followed
            && followed.due(timeout).is_some_and(|due| now >= due)
        {
            followed.silent = true;
            self.silence = Some(now.since(followed.last_heard));
            let leader = followed.leader;
            self.outputs.push_back(LivenessOutput::LeaderSilent { leader });
        }
    }

    fn lead_timeout(&mut self, now: Timestamp) {
        let (me, limit) = (self.me, self.member_patience());
        if self.falls_silent(now) {
            return;
        }
        let Some(authority) = &mut self.authority else { return };
        for (&id, tracked) in &mut authority.members {
            if id == me || tracked.reported_silent || now < tracked.last_seen + limit {
                continue;
            }
            tracked.reported_silent = true;
            self.silence = Some(now.since(tracked.last_seen));
            if let Some(boot) = tracked.boot() {
                self.outputs.push_back(LivenessOutput::MemberSilent { id, boot });
            }
        }
        if now >= authority.next_beat {
            self.beat(now);
        }
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        if let Some(authority) = &self.authority {
            let limit = self.member_patience();
            let others = authority.members.iter().filter(|&(&id, tracked)| id != self.me && !tracked.reported_silent);
            let silence = others.map(|(_, tracked)| tracked.last_seen + limit).min();
            let next = authority
                .contact
                .silent_at(self.me, &authority.voters, self.quorum_patience())
                .map_or(authority.next_beat, |at| at.min(authority.next_beat));
            return earliest(Some(next), silence);
        }
        let followed = self.followed?;
        followed.due(self.leader_patience(&followed))
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<LivenessOutput> {
        self.outputs.pop_front()
    }

    /// Heartbeats sent as leader, and answered as member.
    pub fn heartbeat_counts(&self) -> (u64, u64) {
        (self.heartbeats_sent, self.heartbeats_answered)
    }
}

#[cfg(test)]
mod tests;
