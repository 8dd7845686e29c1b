//! The promise of a voter: it reports to any later leader what a leader that it
//! acked may have granted meanwhile.

use std::time::Duration;

use super::Liveness;
use crate::mutate::{Mutant, planted};
use crate::time::Timestamp;

impl Liveness {
    pub(super) fn promise(&mut self, now: Timestamp) {
        self.promise_until = self.promise_until.max(now + self.timing.waiter(self.timing.lease));
    }

    /// This process follows one that may have promised until its last moment:
    /// a later leader must hear of that promise. The lease length is the same
    /// for the life of a cluster, so nothing need be written per heartbeat.
    pub fn honour_former_boot(&mut self, now: Timestamp) {
        if !planted(Mutant::RestartForgetsPromise) {
            self.promise(now);
        }
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

    /// What is left of this node's promise.
    pub fn promise_remaining(&self, now: Timestamp) -> Duration {
        self.promise_until.since(now)
    }
}
