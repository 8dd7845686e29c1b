//! Epochs of one shard must never go backwards between calls that did not overlap.

use std::collections::BTreeMap;
use std::time::Instant;

/// The shard epochs seen so far.
#[derive(Debug, Default)]
pub struct Epochs {
    /// By shard: when a call with a new highest epoch had ended, ascending.
    seen: BTreeMap<u32, Vec<(Instant, u64)>>,
    /// Calls with a lower epoch than one that had ended before they began.
    pub regressions: u64,
}

impl Epochs {
    /// Takes in one answer: its try ran from `began` to `ended`.
    pub fn note(&mut self, shard: u32, epoch: u64, began: Instant, ended: Instant) {
        let seen = self.seen.entry(shard).or_default();
        let before = seen.iter().filter(|(end, _)| *end < began).map(|(_, epoch)| *epoch).max();
        if before.is_some_and(|before| before > epoch) {
            self.regressions += 1;
        }
        if seen.iter().all(|(_, old)| *old < epoch) {
            seen.push((ended, epoch));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_a_later_call_with_an_older_epoch_counts() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut epochs = Epochs::default();
        epochs.note(1, 5, at(0), at(1));
        epochs.note(1, 7, at(2), at(5));
        epochs.note(1, 5, at(3), at(6));
        epochs.note(2, 1, at(9), at(10));
        assert_eq!(epochs.regressions, 0, "the calls overlapped, or were for another shard");
        epochs.note(1, 6, at(7), at(8));
        assert_eq!(epochs.regressions, 1);
    }
}
