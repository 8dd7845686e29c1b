//! What this node has applied, and a hash of it: two that applied the same entries have the same.

use std::collections::VecDeque;

use crate::id::LogIndex;
use crate::limits::HASHES_KEPT;
use crate::mutate::{Mutant, planted};

/// The hashes after the latest entries, ascending by index.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<(LogIndex, u64)>);

impl History {
    /// The last entry that is applied, and the hash after it.
    pub(super) fn last(&self) -> (LogIndex, u64) {
        self.0.back().copied().unwrap_or_default()
    }

    pub(super) fn note(&mut self, index: LogIndex, hash: u64) {
        // After a snapshot, what was before it is compared with nothing.
        if index < self.last().0 {
            self.0.clear();
        }
        if self.last().0 == index && !self.0.is_empty() {
            self.0.pop_back();
        }
        if self.0.len() >= HASHES_KEPT {
            self.0.pop_front();
        }
        self.0.push_back((index, hash));
    }

    /// Whether a node with this hash after `index` has applied other entries than this one. `false` if this node has no
    /// hash of its own after that entry (not applied, covered by a snapshot, or forgotten), or if `hash` is 0: unknown.
    pub(super) fn differs(&self, index: LogIndex, hash: u64) -> bool {
        if hash == 0 || index > self.last().0 {
            return false;
        }
        let before = self.0.partition_point(|&(known, _)| known <= index).checked_sub(1);
        let own = before.and_then(|at| self.0.get(at));
        own.is_some_and(|&(known, ours)| ours != hash && (known == index || planted(Mutant::OlderHashCompared)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(notes: impl IntoIterator<Item = (u64, u64)>) -> History {
        let mut history = History::default();
        notes.into_iter().for_each(|(index, hash)| history.note(LogIndex(index), hash));
        history
    }

    #[test]
    fn another_hash_after_the_same_entry_differs() {
        let history = history([(3, 30), (5, 50), (6, 50)]);
        for (index, hash, differs) in [(3, 30, false), (3, 31, true), (4, 30, false), (6, 50, false), (5, 30, true)] {
            assert_eq!(history.differs(LogIndex(index), hash), differs, "{index} {hash}");
        }
    }

    #[test]
    fn what_a_snapshot_passed_over_is_not_compared() {
        let history = history([(49, 490), (50, 500), (87, 870), (88, 880)]);
        for index in 51..87 {
            assert!(!history.differs(LogIndex(index), 10 * index), "{index}");
        }
        assert!(history.differs(LogIndex(50), 501) && history.differs(LogIndex(87), 871));
    }

    #[test]
    fn what_is_ahead_or_forgotten_is_not_compared() {
        let history = history((1..=2 * HASHES_KEPT as u64).map(|index| (index, index)));
        assert!(!history.differs(LogIndex(1), 99));
        assert!(!history.differs(LogIndex(2 * HASHES_KEPT as u64 + 1), 99));
        assert!(history.differs(LogIndex(2 * HASHES_KEPT as u64), 99));
        assert!(!History::default().differs(LogIndex(0), 7));
    }
}
