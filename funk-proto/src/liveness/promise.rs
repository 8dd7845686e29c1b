//! The promise of a voter: it reports to any later leader what a leader that it
//! acked may have granted meanwhile.

use std::time::Duration;

use super::{Liveness, LivenessOutput};
use crate::mutate::{Mutant, planted};
use crate::time::Timestamp;

impl Liveness {
    /// Promises for the lease that a heartbeat says, as far as this node would honour that after a restart. Returns the
    /// lease that the promise covers.
    pub(super) fn promise(&mut self, now: Timestamp, lease: Duration) -> Duration {
        let mut lease = lease.min(self.lease_max);
        if planted(Mutant::PromiseByOwnLease) {
            lease = self.timing.lease;
        }
        self.keep(now, lease);
        if !planted(Mutant::PromisedBeforeKept) {
            lease = lease.min(self.kept_lease);
        }
        let until = now + self.timing.waiter(lease);
        let no_less = if planted(Mutant::ShorterLeaseEndsPromise) { until } else { self.promise_until };
        self.promise_until = until.max(no_less);
        lease
    }

    /// Sees to it that the disk holds this lease, or a longer one while a promise for that may run.
    fn keep(&mut self, now: Timestamp, lease: Duration) {
        let shrinks = lease < self.kept_lease
            && self.leases_in_flight == 0
            && self.kept_lease != Duration::MAX
            && (self.promise_until <= now + self.timing.waiter(lease) || planted(Mutant::KeptLeaseShrinksAtOnce));
        if shrinks {
            self.kept_lease = lease;
        } else if lease <= self.lease_to_keep {
            return;
        }
        self.lease_to_keep = lease;
        self.leases_in_flight += 1;
        self.outputs.push_back(LivenessOutput::KeepLease(lease));
    }

    /// The oldest lease that was to be kept is on the disk. A shorter one may be on its way behind it: only the last
    /// says what the disk holds.
    pub fn handle_lease_kept(&mut self) {
        self.leases_in_flight = self.leases_in_flight.saturating_sub(1);
        if self.leases_in_flight == 0 {
            self.kept_lease = self.lease_to_keep;
        }
    }

    /// What this node promises must outlast its process: its disk holds this lease, zero if it is empty.
    pub fn set_kept_lease(&mut self, lease: Duration) {
        (self.kept_lease, self.lease_to_keep) = (lease, lease);
    }

    /// This process follows one that may have promised until its last moment: a later leader must hear of that
    /// promise. Which lease it was for, neither log nor snapshot tells: a leader may have said a longer one.
    pub fn honour_former_boot(&mut self, now: Timestamp) {
        // No promise is for more than the longest lease; the disk of an earlier version says no less than any.
        let kept = self.kept_lease.min(self.lease_max);
        let lease = if planted(Mutant::KeptLeaseForgotten) { self.timing.lease } else { kept };
        if !planted(Mutant::RestartForgetsPromise) {
            self.promise_until = self.promise_until.max(now + self.timing.waiter(lease));
        }
    }

    /// The longest promise that any voter may have made: what counts for one that says nothing of its own.
    pub fn promise_max(&self) -> Duration {
        let known = planted(Mutant::PromiseCutToKnownLease);
        self.timing.waiter(if known { self.timing.lease } else { self.lease_max })
    }

    /// A vote, or a pre-vote, is granted: what is left of this node's promise goes out with a vote.
    pub fn tell_promise(&mut self, now: Timestamp, pre_vote: bool) -> Duration {
        #[cfg(not(funk_mutate))]
        let at_pre_vote = self.promise_until;
        #[cfg(funk_mutate)]
        let at_pre_vote = self.promise_at_pre_vote;
        #[cfg(funk_mutate)]
        if pre_vote {
            self.promise_at_pre_vote = self.promise_until;
        }
        let remaining = self.promise_remaining(now);
        if planted(Mutant::VoteClearsPromise) && !pre_vote {
            self.promise_until = Timestamp::ZERO;
        }
        if planted(Mutant::PromiseReadAtPreVote) && !pre_vote {
            return at_pre_vote.since(now);
        }
        remaining
    }

    /// When this node's promise ends.
    pub fn promise_until(&self) -> Timestamp {
        self.promise_until
    }

    /// What is left of this node's promise.
    pub fn promise_remaining(&self, now: Timestamp) -> Duration {
        self.promise_until.since(now)
    }
}
