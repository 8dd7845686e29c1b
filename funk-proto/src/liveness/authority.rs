//! The leader's side of the leases: how long a quorum backs it, what it
//! granted to whom, and how long it must wait before it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::quorum::nth_newest;
use super::quorum_contact::QuorumContact;
use crate::config::Timing;
use crate::id::{BootId, LogIndex, RaftId, Term};
use crate::limits::WORKER_ID_GUARD;
use crate::mutate::{Mutant, planted};
use crate::time::Timestamp;
use crate::wire::liveness::Grant;

/// A member as the leader's lease rules see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its Raft id.
    pub id: RaftId,
    /// Its boot in the applied table; `None` while it is not up.
    pub boot: Option<BootId>,
    /// No grant before it has applied this index: the one that made it a
    /// member, or the last that took a shard from it.
    pub floor: LogIndex,
}

/// What the leader knows of one member.
#[derive(Clone, Debug)]
pub(super) struct Tracked {
    boot: Option<BootId>,
    floor: LogIndex,
    applied: LogIndex,
    /// The newest ack and when it came; taken when it is answered by a grant.
    renewal: Option<(u64, Timestamp)>,
    /// No later than this the member's lease ends, if it got the last grant.
    lease_estimate: Timestamp,
    pub(super) last_seen: Timestamp,
    /// When the newest heartbeat was sent that it answered.
    echoed: Option<Timestamp>,
    pub(super) reported_silent: bool,
    /// It has applied other entries than this leader.
    pub(super) differs: bool,
}

impl Tracked {
    pub(super) fn boot(&self) -> Option<BootId> {
        self.boot
    }

    pub(super) fn is_current(&self) -> bool {
        self.boot.is_some() && self.applied >= self.floor
    }
}

/// A leader's authority in one term.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    pub(super) term: Term,
    /// The own term's first entry is applied: the map is no longer stale.
    pub(super) ready: bool,
    pub(super) inherited_until: Timestamp,
    pub(super) until: Timestamp,
    pub(super) next_beat: Timestamp,
    pub(super) members: BTreeMap<RaftId, Tracked>,
    pub(super) voters: [BTreeSet<RaftId>; 2],
    /// Until when each voter's promise covers this leader: its newest echo counts from the sending of the heartbeat,
    /// for the lease that the heartbeat said. A lease that grows later does not make it worth more.
    covered: BTreeMap<RaftId, Timestamp>,
    /// The longest lease that a heartbeat of this term said.
    pub(super) longest_lease: Duration,
    grant_end: BTreeMap<(RaftId, BootId), Timestamp>,
    pub(super) contact: QuorumContact,
}

impl Authority {
    /// It leads from `now` on, and the first answers may come from `first_answer` on.
    pub(super) fn new(term: Term, inherited_until: Timestamp, now: Timestamp, first_answer: Timestamp) -> Self {
        Self {
            term,
            ready: false,
            inherited_until,
            until: Timestamp::ZERO,
            next_beat: now,
            members: BTreeMap::new(),
            voters: [BTreeSet::new(), BTreeSet::new()],
            covered: BTreeMap::new(),
            longest_lease: Duration::ZERO,
            grant_end: BTreeMap::new(),
            contact: QuorumContact::since(first_answer),
        }
    }

    /// Takes the present members; those already tracked keep their history
    /// unless their boot changed. `seen` says when a new one was last heard.
    pub(super) fn set_members(&mut self, now: Timestamp, members: &[MemberView], seen: impl Fn(RaftId) -> Timestamp) {
        let mut old = std::mem::take(&mut self.members);
        for view in members {
            let mut tracked = match old.remove(&view.id) {
                Some(tracked) if tracked.boot == view.boot => tracked,
                _ => {
                    if self.ready && view.boot.is_some() {
                        // It is to answer soon: shards wait for it.
                        self.next_beat = now;
                    }
                    Tracked {
                        boot: view.boot,
                        floor: view.floor,
                        applied: LogIndex(0),
                        renewal: None,
                        lease_estimate: Timestamp::ZERO,
                        last_seen: seen(view.id),
                        echoed: None,
                        reported_silent: false,
                        differs: false,
                    }
                }
            };
            tracked.floor = tracked.floor.max(view.floor);
            self.members.insert(view.id, tracked);
        }
        // Shards wait for the end of a grant, worker ids for a guard time more; then nobody does.
        self.grant_end.retain(|_, end| *end + WORKER_ID_GUARD * 2 > now);
    }

    /// The voters whose promises count: the majority of each non-empty half.
    pub(super) fn set_voters(&mut self, now: Timestamp, incoming: BTreeSet<RaftId>, outgoing: BTreeSet<RaftId>) {
        let voters = [incoming, outgoing];
        if voters != self.voters {
            self.contact.restart(now);
        }
        self.voters = voters;
        let voters = &self.voters;
        self.covered.retain(|id, _| voters.iter().any(|half| half.contains(id)));
    }

    pub(super) fn raise_floor(&mut self, id: RaftId, floor: LogIndex) {
        if let Some(tracked) = self.members.get_mut(&id) {
            tracked.floor = tracked.floor.max(floor);
        }
    }

    /// A voter echoed a heartbeat: its promise covers this leader until then.
    pub(super) fn count_ack(&mut self, voter: RaftId, until: Timestamp) {
        if !self.voters.iter().any(|half| half.contains(&voter)) {
            return;
        }
        let newest = self.covered.entry(voter).or_default();
        *newest = (*newest).max(until);
        let newer = usize::from(planted(Mutant::OneHalfOfJointBacks));
        let backed =
            self.voters[..2 - newer].iter().filter(|half| !half.is_empty()).map(|half| self.majority_until(half)).min();
        if let Some(Some(until)) = backed {
            self.until = self.until.max(until);
        }
    }

    /// Until when the promises of a majority of `half` cover this leader.
    fn majority_until(&self, half: &BTreeSet<RaftId>) -> Option<Timestamp> {
        let less = usize::from(planted(Mutant::QuorumOffByOne) && half.len() > 1);
        nth_newest(half, half.len() / 2 + 1 - less, |id| self.covered.get(&id).copied())
    }

    /// A member answered: note what it shows. False if it is another boot than the table's.
    pub(super) fn note_ack(
        &mut self,
        now: Timestamp,
        id: RaftId,
        boot: BootId,
        counter: u64,
        applied: LogIndex,
    ) -> bool {
        let Some(tracked) = self.members.get_mut(&id).filter(|tracked| tracked.boot == Some(boot)) else {
            return false;
        };
        tracked.last_seen = now;
        tracked.reported_silent = false;
        tracked.applied = tracked.applied.max(applied);
        tracked.renewal = Some((counter, now));
        true
    }

    /// A member answered a heartbeat that was sent at `sent`. Returns how old the newest one was that it had answered
    /// before.
    pub(super) fn note_echo(&mut self, now: Timestamp, id: RaftId, sent: Timestamp) -> Option<Duration> {
        let tracked = self.members.get_mut(&id)?;
        let before = tracked.echoed.replace(tracked.echoed.map_or(sent, |before| before.max(sent)))?;
        Some(now.since(before))
    }

    /// Whether the member's lease is over, or will be within `margin`.
    pub(super) fn lease_is_short(&self, id: RaftId, now: Timestamp, margin: Duration) -> bool {
        self.members.get(&id).is_some_and(|tracked| tracked.lease_estimate <= now + margin)
    }

    /// Whether this very process may count its authority as its own lease.
    pub(super) fn covers(&self, id: RaftId, boot: BootId, applied: LogIndex) -> bool {
        (self.ready || planted(Mutant::ReadyBeforeOwnTerm))
            && self.members.get(&id).is_some_and(|own| own.boot == Some(boot) && applied >= own.floor)
    }

    /// The grant that answers the member's newest ack, if the rules allow one:
    /// within the authority, counted from the ack's arrival, charged to this
    /// boot on this clock times κ whether it arrives or not.
    pub(super) fn take_grant(&mut self, now: Timestamp, id: RaftId, timing: &Timing) -> Option<Grant> {
        let unready = !self.ready && !planted(Mutant::ReadyBeforeOwnTerm);
        if unready || now >= self.until && !planted(Mutant::GrantBeyondAuthority) {
            return None;
        }
        let tracked = self.members.get_mut(&id)?;
        let boot = tracked.boot?;
        let (echo, received) = tracked.renewal?;
        if tracked.differs || tracked.applied < tracked.floor && !planted(Mutant::GrantBelowFloor) {
            return None;
        }
        let mut length = timing.lease.min(self.until.since(received));
        if planted(Mutant::GrantBeyondAuthority) {
            length = timing.lease;
        }
        let length = Duration::from_micros(u64::try_from(length.as_micros()).unwrap_or(u64::MAX));
        if length.is_zero() {
            return None;
        }
        tracked.renewal = None;
        tracked.lease_estimate = tracked.lease_estimate.max(received + length);
        let end = self.grant_end.entry((id, boot)).or_default();
        if !planted(Mutant::GrantNotCharged) {
            *end = (*end).max(received + timing.waiter(length));
        }
        Some(Grant { echo, length })
    }

    /// Until when that boot may believe in a grant of this leader.
    pub(super) fn grant_end(&self, id: RaftId, boot: BootId) -> Timestamp {
        if planted(Mutant::GrantsKeyedByNode) {
            let of_node = self.grant_end.iter().filter(|((node, _), _)| *node == id);
            return of_node.map(|(_, &end)| end).max().unwrap_or_default();
        }
        self.grant_end.get(&(id, boot)).copied().unwrap_or_default()
    }

    /// Drops what is held, prolongs what is waited for.
    pub(super) fn clock_gap(&mut self, now: Timestamp, gap: Duration) {
        self.until = Timestamp::ZERO;
        self.covered.clear();
        self.contact.restart(now);
        let gap = if planted(Mutant::GapEndsWaits) { Duration::ZERO } else { gap };
        self.inherited_until = self.inherited_until + gap;
        for end in self.grant_end.values_mut() {
            *end = *end + gap;
        }
        for tracked in self.members.values_mut() {
            tracked.last_seen = (tracked.last_seen + gap).min(now);
            tracked.renewal = None;
            tracked.echoed = None;
        }
        self.next_beat = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(150);

    fn id(n: u64) -> RaftId {
        RaftId::new(n).unwrap()
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn boot(n: u64) -> BootId {
        BootId::new(n).unwrap()
    }

    fn three() -> Authority {
        let mut authority = Authority::new(Term(1), Timestamp::ZERO, at(0), at(0));
        authority.set_voters(at(0), (1..=3).map(id).collect(), BTreeSet::new());
        let views: Vec<_> =
            (1..=3).map(|n| MemberView { id: id(n), boot: Some(boot(n)), floor: LogIndex(5) }).collect();
        authority.set_members(at(0), &views, |_| at(0));
        authority.ready = true;
        authority
    }

    #[test]
    fn authority_counts_from_the_send_that_a_majority_echoed() {
        let mut authority = three();
        authority.count_ack(id(1), at(100) + LEASE);
        assert_eq!(authority.until, Timestamp::ZERO, "one of three is no majority");
        authority.count_ack(id(2), at(40) + LEASE);
        assert_eq!(authority.until, at(190));
        authority.count_ack(id(3), at(60) + LEASE);
        assert_eq!(authority.until, at(210));
        authority.count_ack(id(9), at(500) + LEASE);
        assert_eq!(authority.until, at(210), "a learner promises nothing");
    }

    #[test]
    fn a_joint_configuration_needs_both_majorities() {
        let mut authority = three();
        authority.set_voters(at(0), [id(1), id(4), id(5)].into(), (1..=3).map(id).collect());
        for n in 1..=3 {
            authority.count_ack(id(n), at(100) + LEASE);
        }
        assert_eq!(authority.until, Timestamp::ZERO);
        authority.count_ack(id(4), at(80) + LEASE);
        assert_eq!(authority.until, at(230));
    }

    #[test]
    fn grants_stay_inside_the_authority_and_are_charged_when_made() {
        let (mut authority, timing) = (three(), Timing::default());
        authority.count_ack(id(1), at(100) + LEASE);
        authority.count_ack(id(2), at(100) + LEASE);
        assert!(authority.note_ack(at(101), id(2), boot(2), 7, LogIndex(5)));
        let grant = authority.take_grant(at(120), id(2), &timing).unwrap();
        assert_eq!(grant, Grant { echo: 7, length: Duration::from_millis(149) });
        assert_eq!(authority.grant_end(id(2), boot(2)), at(101) + timing.waiter(Duration::from_millis(149)));
        assert_eq!(authority.take_grant(at(121), id(2), &timing), None, "one grant an ack");
        authority.note_ack(at(249), id(2), boot(2), 8, LogIndex(5));
        assert_eq!(authority.take_grant(at(250), id(2), &timing), None, "the authority is over");
    }

    #[test]
    fn no_grant_below_the_floor_for_another_boot_or_before_the_own_term() {
        let (mut authority, timing) = (three(), Timing::default());
        authority.count_ack(id(1), at(100) + LEASE);
        authority.count_ack(id(2), at(100) + LEASE);
        authority.note_ack(at(101), id(2), boot(2), 7, LogIndex(4));
        assert_eq!(authority.take_grant(at(101), id(2), &timing), None);
        assert!(!authority.note_ack(at(101), id(2), boot(22), 8, LogIndex(9)));
        assert_eq!(authority.take_grant(at(101), id(2), &timing), None);
        authority.note_ack(at(102), id(2), boot(2), 9, LogIndex(9));
        authority.ready = false;
        assert_eq!(authority.take_grant(at(102), id(2), &timing), None);
        authority.ready = true;
        authority.raise_floor(id(2), LogIndex(10));
        assert_eq!(authority.take_grant(at(102), id(2), &timing), None, "a takeover is proposed");
    }

    #[test]
    fn a_clock_gap_drops_authority_and_prolongs_waits() {
        let (mut authority, timing) = (three(), Timing::default());
        authority.count_ack(id(1), at(100) + LEASE);
        authority.count_ack(id(2), at(100) + LEASE);
        authority.note_ack(at(101), id(2), boot(2), 7, LogIndex(5));
        authority.take_grant(at(101), id(2), &timing).unwrap();
        let end = authority.grant_end(id(2), boot(2));
        authority.clock_gap(at(1101), Duration::from_secs(1));
        assert_eq!(authority.until, Timestamp::ZERO);
        assert_eq!(authority.grant_end(id(2), boot(2)), end + Duration::from_secs(1));
    }
}
