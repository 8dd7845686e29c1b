//! How long others may be silent: as long as the cluster's timing says, and longer for a node that runs late itself or
//! hears over a slow network. What they said may be on its way, or waiting to be read.

use std::time::Duration;

use super::Liveness;
use super::followed::Followed;
use super::quorum::nth_smallest;
use crate::id::RaftId;
use crate::mutate::{Mutant, planted};
use crate::time::Timestamp;

impl Liveness {
    /// A timer of this process fired so late. A stop that is longer than the lease shows as a clock gap.
    pub fn note_lateness(&mut self, now: Timestamp, late: Duration) {
        self.lateness.note(now, late, self.timing.lease);
    }

    /// A heartbeat, or the answer to one, has come back from a peer after so long.
    pub(super) fn note_round_trip(&mut self, now: Timestamp, peer: RaftId, took: Duration) {
        let cap = self.timing.lease_cap();
        if let Some(link) = self.links.get_mut(&peer) {
            link.round_trip.note(now, took, cap);
        }
        if self.authority.is_none() {
            self.to_leader.note(now, took, cap);
        }
    }

    /// Time in which a majority of the voters answers: of the leader by their answers, of others by the one that they
    /// follow or followed last. Zero on a near network.
    pub fn round_trip(&self) -> Duration {
        if planted(Mutant::RoundTripsIgnored) {
            return Duration::ZERO;
        }
        let Some(authority) = &self.authority else { return self.to_leader.longest() };
        let round_trip = |id| self.links.get(&id).map(|link| link.round_trip.longest());
        let halves = authority.voters.iter().filter(|half| !half.is_empty());
        let of_half = halves.filter_map(|half| {
            let others_needed = half.len() / 2 + 1 - usize::from(half.contains(&self.me));
            nth_smallest(half, others_needed, |id| if id == self.me { None } else { round_trip(id) })
        });
        of_half.max().unwrap_or_default()
    }

    /// Silence after which this node declares a member dead, if it leads.
    pub fn member_patience(&self) -> Duration {
        self.timing.member_timeout() + self.lateness.longest()
    }

    /// Silence of a majority after which this leader gives up.
    pub(super) fn quorum_patience(&self) -> Duration {
        self.timing.leader_timeout + self.lateness.longest() + self.round_trip()
    }

    /// How long a leader may be silent before this node gives it up. It said which lease it keeps its pace by; this
    /// node may not have applied that yet.
    pub(super) fn leader_patience(&self, followed: &Followed) -> Duration {
        let longer = self.timing.stretched(followed.lease.max(self.timing.lease));
        longer.leader_timeout + self.lateness.longest() + self.round_trip()
    }
}
