//! Values of the whole cluster.

use std::time::Duration;

use super::Change;
use crate::config::{ClusterTiming, Ownership};
use crate::id::{ClusterId, RaftId};
use crate::limits::FORMER_CLUSTERS_MAX;
use crate::wire::cluster::LeaseRecord;

/// Values of the whole cluster, set at its bootstrap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterValues {
    /// The cluster's id.
    pub id: ClusterId,
    /// The cluster's name.
    pub name: String,
    /// Unix nanoseconds of the bootstrap.
    pub created_ns: i64,
    /// The lease length: the only one of these values that an entry of the log changes.
    pub lease: Duration,
    /// The shortest that it may be.
    pub lease_min: Duration,
    /// The longest that it may be: what everybody waits for who knows of no lease in particular.
    pub lease_max: Duration,
    /// Why it is what it is.
    pub lease_reason: LeaseReason,
    /// The drift bound, parts per million.
    pub drift_ppm: u32,
    /// What keeps a former owner from having an effect.
    pub ownership: Ownership,
    /// 1, and one more with each recovery from the loss of the majority.
    pub generation: u64,
    /// Ids of the former generations, oldest first.
    pub former: Vec<ClusterId>,
}

impl ClusterValues {
    /// The next generation, under the id `id`.
    #[must_use]
    pub fn recovered(mut self, id: ClusterId) -> Self {
        if self.former.len() >= FORMER_CLUSTERS_MAX {
            self.former.remove(0);
        }
        self.former.push(std::mem::replace(&mut self.id, id));
        self.generation += 1;
        self
    }

    /// What of these values a node's timing follows.
    pub fn timing(&self) -> ClusterTiming {
        let ClusterValues { lease, lease_min, lease_max, drift_ppm, .. } = *self;
        ClusterTiming { lease, lease_min, lease_max, drift_ppm }
    }

    /// Takes another lease, if it is within the bounds and its proposer knew the present one.
    pub(super) fn change_lease(&mut self, record: LeaseRecord) -> Option<Change> {
        let lease = Duration::from_micros(record.lease_us);
        let fits = (self.lease_min..=self.lease_max).contains(&lease) && lease != self.lease;
        if !fits || u128::from(record.from_us) != self.lease.as_micros() {
            return None;
        }
        (self.lease, self.lease_reason) = (lease, LeaseReason::read(record.reason, record.member));
        Some(Change::Lease)
    }
}

/// Why the lease is as long as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LeaseReason {
    /// It is as configured at the bootstrap.
    #[default]
    Configured,
    /// Answers to the leader's heartbeats came late, of this member the latest.
    LateAnswers(RaftId),
    /// The leader changed again and again while all of the leaders lived.
    LeaderChanges,
    /// It was longer, and answers have been on time for a while.
    Calm,
}

impl LeaseReason {
    /// As the log and the snapshot have it: a number, and a member or 0.
    pub(crate) fn written(self) -> (u32, u64) {
        match self {
            Self::Configured => (0, 0),
            Self::LateAnswers(member) => (1, member.get()),
            Self::LeaderChanges => (2, 0),
            Self::Calm => (3, 0),
        }
    }

    /// Whatever else stands there was written by a later version.
    pub(crate) fn read(number: u32, member: u64) -> Self {
        match (number, RaftId::new(member)) {
            (1, Some(member)) => Self::LateAnswers(member),
            (2, _) => Self::LeaderChanges,
            (3, _) => Self::Calm,
            _ => Self::Configured,
        }
    }
}

impl std::fmt::Display for LeaseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Configured => f.write_str("as configured"),
            Self::LateAnswers(member) => write!(f, "late answers of {member}"),
            Self::LeaderChanges => f.write_str("leader changes"),
            Self::Calm => f.write_str("calm again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LogIndex;
    use crate::state::tests::{command, state};
    use crate::wire::cluster::Op;

    #[test]
    fn a_lease_changes_within_its_bounds_and_from_the_one_that_was_known() {
        let mut state = state(4);
        let mut change = |lease_us, from_us| {
            let record = LeaseRecord { lease_us, from_us, reason: 1, member: 7 };
            state.apply(LogIndex(state.applied.0 + 1), command([Op::Lease(record)])) == [Change::Lease]
        };
        assert!(!change(600_001, 150_000), "above the longest");
        assert!(!change(149_999, 150_000), "below the shortest");
        assert!(change(300_000, 150_000));
        assert!(!change(600_000, 150_000), "its proposer did not know the present one");
        assert!(change(600_000, 300_000));
        assert_eq!(state.cluster.lease, Duration::from_millis(600));
        assert_eq!(state.cluster.lease_reason, LeaseReason::LateAnswers(RaftId::new(7).unwrap()));
    }
}
