//! The budget of retries: a client whose requests fail all the time sends
//! hardly more of them than its callers do.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::limits::{CLIENT_RETRIES_PER_SECOND, CLIENT_RETRY_BUDGET};

/// Retries that an answered request earns.
const EARNED: f64 = 0.25;

/// Retries that may be made now, all requests of a client together.
#[derive(Debug)]
pub(super) struct Budget(Mutex<(f64, Instant)>);

impl Default for Budget {
    fn default() -> Self {
        Self::at(Instant::now())
    }
}

impl Budget {
    fn at(now: Instant) -> Self {
        Self(Mutex::new((f64::from(CLIENT_RETRY_BUDGET), now)))
    }

    /// An answer came.
    pub(super) fn earn(&self) {
        self.change(Instant::now(), |left| left + EARNED);
    }

    /// Takes one retry; `false` when there is none left.
    pub(super) fn spend(&self) -> bool {
        self.spend_at(Instant::now())
    }

    fn spend_at(&self, now: Instant) -> bool {
        let mut allowed = false;
        self.change(now, |left| {
            allowed = left >= 1.0;
            if allowed { left - 1.0 } else { left }
        });
        allowed
    }

    fn change(&self, now: Instant, by: impl FnOnce(f64) -> f64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = *state;
        let grown = left + now.saturating_duration_since(since).as_secs_f64() * f64::from(CLIENT_RETRIES_PER_SECOND);
        let most = f64::from(CLIENT_RETRY_BUDGET);
        *state = (by(grown.min(most)).min(most), now.max(since));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn spent(budget: &Budget, now: Instant) -> u32 {
        let mut count = 0;
        while budget.spend_at(now) {
            count += 1;
        }
        count
    }

    #[test]
    fn retries_end_and_come_back_with_time_and_with_answers() {
        let start = Instant::now();
        let budget = Budget::at(start);
        assert_eq!(spent(&budget, start), CLIENT_RETRY_BUDGET);
        assert_eq!(spent(&budget, start + Duration::from_secs(1)), CLIENT_RETRIES_PER_SECOND);
        let later = start + Duration::from_secs(1);
        for _ in 0..8 {
            budget.change(later, |left| left + EARNED);
        }
        assert_eq!(spent(&budget, later), 2);
        assert_eq!(spent(&budget, start + Duration::from_secs(3_600)), CLIENT_RETRY_BUDGET, "it is bounded");
    }
}
