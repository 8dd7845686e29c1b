//! Lamport clocks, which order joins and leaves.

/// Times above this are no count of anything: a clock that follows one could
/// soon not move any further.
const TIME_MAX: u64 = u64::MAX / 2;

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

    /// Moves past a time that was seen. False for a time that cannot be.
    pub(super) fn witness(&mut self, time: u64) -> bool {
        if time > TIME_MAX {
            return false;
        }
        self.0 = self.0.max(time + 1);
        true
    }

    /// Follows another node's clock as a push/pull shows it.
    pub(super) fn follow(&mut self, clock: u64) {
        if clock > 0 {
            self.witness(clock - 1);
        }
    }
}
