//! Datagrams to and from one peer.

use std::time::Duration;

use super::fading::Fading;
use super::peer_clock::PeerClock;
use super::sent::SentTimes;
use crate::id::BootId;
use crate::limits::COUNTER_WINDOW;
use crate::mutate::{Mutant, planted};
use crate::time::Timestamp;
use crate::wire::liveness::LAST_COUNTER;

/// What is remembered of one peer's datagrams, and of those to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    pub(super) sent: SentTimes,
    /// Of these, what acknowledged a leader's heartbeat: the only ones that a grant may answer.
    pub(super) asked: SentTimes,
    /// How long answers of this peer took.
    pub(super) round_trip: Fading,
    peer_clock: PeerClock,
    boot: Option<BootId>,
    received: u64,
}

impl Link {
    /// Whether a datagram is of the newest boot, with a higher counter than any before, and not so high that whatever
    /// its sender says afterwards would count for old.
    pub(super) fn admit(&mut self, boot: BootId, counter: u64) -> bool {
        if self.boot != Some(boot) {
            self.boot = Some(boot);
            self.received = 0;
            self.peer_clock.forget();
        }
        let is_far = counter != LAST_COUNTER && counter.saturating_sub(self.received) > COUNTER_WINDOW;
        if is_far && !planted(Mutant::AnyCounterBelieved) {
            return false;
        }
        let is_new = counter > self.received;
        self.received = self.received.max(counter);
        is_new
    }

    /// The boot that was heard last.
    pub(super) fn boot(&self) -> Option<BootId> {
        self.boot
    }

    /// A datagram left at `theirs` by the peer's clock and answers ours of this counter: for how long our clock stood still.
    pub(super) fn compare(
        &mut self,
        now: Timestamp,
        theirs: Timestamp,
        answers: Option<u64>,
        drift_ppm: u32,
    ) -> Option<Duration> {
        let answered = answers.and_then(|counter| Some(self.sent.get(counter)?.at));
        self.peer_clock.compare(now, theirs, answered, drift_ppm)
    }

    /// What was sent before a gap proves nothing.
    pub(super) fn forget_sent(&mut self) {
        self.sent.clear();
        self.asked.clear();
        self.peer_clock.forget();
    }
}
