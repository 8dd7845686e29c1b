//! Delays that were measured: what is left of the longest.

use std::time::Duration;

use crate::time::Timestamp;

/// A delay up to this one is none: timers and a near network are never better.
const NONE: Duration = Duration::from_millis(5);
/// What was measured counts half after this time.
const HALF_LIFE: Duration = Duration::from_secs(1);

/// The longest delay of late.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fading {
    longest: Duration,
    at: Timestamp,
}

impl Fading {
    /// Something took so long; more than `cap` counts as `cap`.
    pub(super) fn note(&mut self, now: Timestamp, delay: Duration, cap: Duration) {
        let halvings = now.since(self.at).as_nanos() / HALF_LIFE.as_nanos();
        if halvings > 0 {
            self.longest /= 1 << halvings.min(20);
            self.at = now;
        }
        if delay > NONE && delay.min(cap) > self.longest {
            (self.longest, self.at) = (delay.min(cap), now);
        }
        if self.longest <= NONE {
            self.longest = Duration::ZERO;
        }
    }

    /// What is left of it; it does not fade further until something is noted.
    pub(super) fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_fades_by_half_each_second() {
        let (mut delays, cap) = (Fading::default(), Duration::from_millis(150));
        let (at, ms) = (Timestamp::from_millis, Duration::from_millis);
        delays.note(at(1000), ms(4), cap);
        assert_eq!(delays.longest(), Duration::ZERO, "that is none");
        delays.note(at(1000), ms(80), cap);
        delays.note(at(1100), ms(30), cap);
        assert_eq!(delays.longest(), ms(80));
        delays.note(at(2000), ms(1), cap);
        assert_eq!(delays.longest(), ms(40));
        delays.note(at(2100), ms(9000), cap);
        assert_eq!(delays.longest(), cap);
        delays.note(at(60_000), ms(0), cap);
        assert_eq!(delays.longest(), Duration::ZERO);
    }
}
