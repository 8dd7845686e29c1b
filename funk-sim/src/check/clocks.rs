//! Whether the clocks keep to the bound that leases rely on, as the checkers need it.

use std::time::Duration;

use funk_proto::Timestamp;

/// Notes since when every clock keeps to the bound.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    out_of_bounds: bool,
    trusted_from: Timestamp,
}

impl Clocks {
    /// Whether what rests on the clocks may be demanded now.
    pub(super) fn are_trusted(&self, now: Timestamp) -> bool {
        !self.out_of_bounds && now >= self.trusted_from
    }

    /// They keep to the bound, or not any more. What was begun while they did not may last for `after`.
    pub(super) fn note(&mut self, now: Timestamp, within: bool, after: Duration) {
        if self.out_of_bounds && within {
            self.trusted_from = now + after;
        }
        self.out_of_bounds = !within;
    }
}
