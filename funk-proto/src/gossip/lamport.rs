//! Lamport clocks, which order joins and leaves, events and queries.

use crate::mutate::{Mutant, planted};

/// How far one message may move a clock. A clock moves by one with each join,
/// leave, event or query: one a second for a century is less than that. It
/// takes as many messages, heard one by one, to use a clock up.
const AHEAD_MAX: u64 = 1 << 32;

/// A Lamport clock. Starts at 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lamport(u64);

impl Lamport {
    pub(super) fn new() -> Self {
        Self(1)
    }

    /// The present time.
    pub(super) fn time(self) -> u64 {
        self.0
    }

    /// Takes the present time for an event of our own, and moves on.
    pub(super) fn issue(&mut self) -> u64 {
        let time = self.0;
        self.witness(time);
        time
    }

    /// Moves past a time that was seen. False for one that is too far ahead to
    /// be believed: what was said at it is to be dropped. The clock moves on
    /// even then, as far as it may, so that honest clocks that are far apart
    /// meet, and so that what others took for true can be answered.
    pub(super) fn witness(&mut self, time: u64) -> bool {
        let window = if planted(Mutant::AnyTimeBelieved) { u64::MAX } else { AHEAD_MAX };
        let latest = self.0.saturating_add(window);
        self.0 = self.0.max(time.min(latest).saturating_add(1));
        time <= latest
    }

    /// Follows another node's clock as a push/pull shows it.
    pub(super) fn follow(&mut self, clock: u64) {
        if clock > 0 {
            self.witness(clock - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_moves_past_what_it_sees_and_never_back() {
        let mut clock = Lamport::new();
        assert!(clock.witness(9) && clock.witness(3));
        assert_eq!((clock.issue(), clock.time()), (10, 11));
        clock.follow(0);
        clock.follow(30);
        assert_eq!(clock.time(), 30);
    }

    #[test]
    fn one_message_moves_a_clock_by_a_window_and_is_not_believed_beyond_it() {
        for far in [AHEAD_MAX + 2, 1 << 62, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            let mut clock = Lamport::new();
            assert!(!clock.witness(far), "{far}");
            assert_eq!(clock.time(), AHEAD_MAX + 2);
            assert_eq!(clock.issue() + 1, clock.time(), "and there is room for a next time");
        }
        let mut clock = Lamport::new();
        assert!(clock.witness(AHEAD_MAX + 1));
    }

    #[test]
    fn clocks_that_are_far_apart_meet() {
        let (mut slow, fast) = (Lamport::new(), 5 * AHEAD_MAX);
        let steps = (1..).find(|_| slow.witness(fast)).unwrap();
        assert!(steps < 10 && slow.time() == fast + 1, "{steps}");
    }

    #[test]
    fn the_last_time_of_all_is_no_overflow() {
        let mut clock = Lamport(u64::MAX - 1);
        assert!(clock.witness(u64::MAX));
        assert_eq!((clock.issue(), clock.time()), (u64::MAX, u64::MAX));
    }
}
