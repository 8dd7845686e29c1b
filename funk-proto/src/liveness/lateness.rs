//! How late this process runs. Who is late itself must not judge others: what they said may be waiting to be read.

use std::time::Duration;

use crate::time::Timestamp;

/// A timer that fires no later than this is on time.
const ON_TIME: Duration = Duration::from_millis(5);
/// What was measured counts half after this time.
const HALF_LIFE: Duration = Duration::from_secs(1);

/// The lateness of this process's timers: the worst of late, fading.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lateness {
    worst: Duration,
    at: Timestamp,
}

impl Lateness {
    /// A timer fired this late. More than `cap` counts as `cap`: a longer stop shows as a clock gap.
    pub(super) fn note(&mut self, now: Timestamp, late: Duration, cap: Duration) {
        let halvings = now.since(self.at).as_nanos() / HALF_LIFE.as_nanos();
        if halvings > 0 {
            self.worst /= 1 << halvings.min(20);
            self.at = now;
        }
        if late > ON_TIME && late.min(cap) > self.worst {
            (self.worst, self.at) = (late.min(cap), now);
        }
        if self.worst <= ON_TIME {
            self.worst = Duration::ZERO;
        }
    }

    /// How much longer than others this process must wait before it calls them silent.
    pub(super) fn allowance(&self) -> Duration {
        self.worst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_fades_by_half_each_second() {
        let (mut lateness, cap) = (Lateness::default(), Duration::from_millis(150));
        let (at, ms) = (Timestamp::from_millis, Duration::from_millis);
        lateness.note(at(1000), ms(4), cap);
        assert_eq!(lateness.allowance(), Duration::ZERO, "that is on time");
        lateness.note(at(1000), ms(80), cap);
        lateness.note(at(1100), ms(30), cap);
        assert_eq!(lateness.allowance(), ms(80));
        lateness.note(at(2000), ms(1), cap);
        assert_eq!(lateness.allowance(), ms(40));
        lateness.note(at(2100), ms(9000), cap);
        assert_eq!(lateness.allowance(), cap);
        lateness.note(at(60_000), ms(0), cap);
        assert_eq!(lateness.allowance(), Duration::ZERO);
    }
}
