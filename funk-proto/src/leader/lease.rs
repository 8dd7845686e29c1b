//! How long the cluster's lease is: longer while the members' answers come late, as short as configured again when
//! they have been on time for long.
//!
//! A lease that is too short for the machines or the network costs more than a slow failover: shards pause, leaders
//! are given up that live, and each election is more load. So it grows at once and shrinks slowly, by a factor of two
//! each time. Whether a lease is *safe* does not depend on any of this.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Facts, Leader};
use crate::id::Incarnation;
use crate::limits::LEASE_MAX;
use crate::mutate::{Mutant, planted};
use crate::state::LeaseReason;
use crate::time::Timestamp;
use crate::wire::cluster::{LeaseRecord, Op};

/// An answer is late if it left no more than half of the lease.
const LATE: u32 = 2;
/// So many late answers within [`LATE_WINDOW`] make the lease longer: one process that paused does not.
const LATE_ANSWERS: usize = 3;
const LATE_WINDOW: Duration = Duration::from_secs(10);
/// So many changes of the leader, all of whose leaders still live, within [`CHANGES_WINDOW`] make it longer.
const CHANGES: usize = 3;
const CHANGES_WINDOW: Duration = Duration::from_secs(30);
/// The lease is halved when for so long no answer came that would be late under the half, and no leader changed.
const CALM: Duration = Duration::from_secs(20);
/// Time from a late answer to the leader's look at the lease.
const LOOK: Duration = Duration::from_millis(250);
/// Changes of leaders that are remembered.
const REMEMBERED: usize = 16;

/// What every node remembers of leaders and leases, to judge when it leads itself.
#[derive(Debug, Default)]
pub(super) struct Pace {
    leader: Option<Incarnation>,
    /// Leaders that were replaced, and when, the newest last.
    replaced: VecDeque<(Timestamp, Incarnation)>,
    /// When the lease changed last.
    changed: Timestamp,
    /// When it did, or this node began to lead.
    since: Timestamp,
}

impl Pace {
    /// This process leads from now on, in a new term; it may be the same as before.
    pub(super) fn note_leader(&mut self, now: Timestamp, leader: Incarnation) {
        let Some(replaced) = self.leader.replace(leader) else { return };
        if self.replaced.len() == REMEMBERED {
            self.replaced.pop_front();
        }
        self.replaced.push_back((now, replaced));
    }

    /// The lease changed: what was before is no reason any more.
    pub(super) fn note_changed(&mut self, now: Timestamp) {
        (self.changed, self.since) = (now, now);
    }

    /// This node leads from now on.
    pub(super) fn lead(&mut self, now: Timestamp) {
        self.since = now;
    }

    /// When the leader changed and need not have, for the one that was replaced lives; the last change last.
    fn needless_changes(&self, facts: &Facts<'_>) -> impl Iterator<Item = Timestamp> {
        self.replaced.iter().filter(|&&(_, who)| facts.is_up(who)).map(|&(at, _)| at)
    }
}

fn before(now: Timestamp, window: Duration) -> Timestamp {
    Timestamp::ZERO + now.since(Timestamp::ZERO + window)
}

impl Leader {
    /// The entry that changes the lease, if it is due.
    pub(super) fn lease(&mut self, facts: &Facts<'_>) -> Option<Op> {
        let cluster = &facts.state.cluster;
        if cluster.lease_min == cluster.lease_max {
            return None;
        }
        let (lease, reason) = self.longer(facts).or_else(|| self.shorter(facts))?;
        let (reason, member) = reason.written();
        let micros = |lease: Duration| u64::try_from(lease.min(LEASE_MAX).as_micros()).unwrap_or(u64::MAX);
        Some(Op::Lease(LeaseRecord { lease_us: micros(lease), from_us: micros(cluster.lease), reason, member }))
    }

    /// An answer came late, one more reason to make the lease longer. Many may come at once: they are looked at together.
    pub(crate) fn handle_late_answer(&mut self, now: Timestamp) {
        if let Some(leading) = &mut self.leading {
            leading.look_again(now + LOOK);
        }
    }

    fn longer(&self, facts: &Facts<'_>) -> Option<(Duration, LeaseReason)> {
        let cluster = &facts.state.cluster;
        let longer = (cluster.lease * 2).min(cluster.lease_max);
        if longer == cluster.lease || planted(Mutant::LeaseNeverLonger) {
            return None;
        }
        let from = before(facts.now, LATE_WINDOW).max(self.pace.since);
        let late = facts.leases.late_answers().filter(|late| late.at >= from && late.age > cluster.lease / LATE);
        let members: Vec<_> = late.map(|late| late.member).collect();
        if members.len() >= LATE_ANSWERS {
            return Some((longer, LeaseReason::LateAnswers(*members.last()?)));
        }
        // Changes that made this node lead are older than its reign.
        let from = before(facts.now, CHANGES_WINDOW).max(self.pace.changed);
        let needless = self.pace.needless_changes(facts).filter(|&at| at >= from).count();
        (needless >= CHANGES).then_some((longer, LeaseReason::LeaderChanges))
    }

    fn shorter(&mut self, facts: &Facts<'_>) -> Option<(Duration, LeaseReason)> {
        let cluster = &facts.state.cluster;
        let shorter = (cluster.lease / 2).max(cluster.lease_min);
        if shorter == cluster.lease {
            return None;
        }
        let late = facts.leases.late_answers().rfind(|late| late.age > shorter / LATE).map(|late| late.at);
        let change = self.pace.needless_changes(facts).last();
        let calm_since = self.pace.since.max(late.unwrap_or_default()).max(change.unwrap_or_default());
        if facts.now < calm_since + CALM {
            self.leading.as_mut()?.look_again(calm_since + CALM);
            return None;
        }
        Some((shorter, LeaseReason::Calm))
    }
}
