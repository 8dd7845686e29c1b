//! The log since the last snapshot, in memory, where Raft reads it. What is
//! here has been handed to the store, though it may not be stable yet.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};

use crate::limits::{ENTRIES_KEPT_BEHIND_SNAPSHOT, SNAPSHOT_AFTER_BYTES, SNAPSHOT_AFTER_ENTRIES};

#[derive(Default)]
pub(super) struct Mirror {
    hard: HardState,
    /// The newest snapshot; never older than the first entry. Index 0 is none.
    snapshot: Snapshot,
    /// Index and term of the entry before the first.
    before: (u64, u64),
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Followers that asked for a snapshot that is not there. Raft reads the
    /// store through a shared reference, hence the cell.
    waiting: RefCell<BTreeSet<u64>>,
}

/// What an entry weighs beside its bytes.
const ENTRY_OVERHEAD_BYTES: usize = 64;

fn weight(entry: &Entry) -> usize {
    entry.data.len() + ENTRY_OVERHEAD_BYTES
}

impl Mirror {
    /// The store of a node that starts from `snapshot`, in the snapshot's term.
    pub(super) fn starting_from(snapshot: Snapshot) -> Mirror {
        let mut mirror = Mirror::default();
        mirror.hard.term = snapshot.get_metadata().term;
        mirror.hard.commit = snapshot.get_metadata().index;
        mirror.restore(snapshot);
        mirror
    }

    /// The store of a node that starts again.
    pub(super) fn recovered(hard: HardState, snapshot: Option<Snapshot>, entries: &[Entry]) -> Mirror {
        let mut mirror = Mirror::default();
        if let Some(snapshot) = snapshot {
            mirror.restore(snapshot);
        }
        mirror.append(entries);
        mirror.hard = hard;
        mirror
    }

    /// All entries after `index`, oldest first.
    pub(super) fn entries_after(&self, index: u64) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.index > index)
    }

    pub(super) fn last_snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    pub(super) fn first(&self) -> u64 {
        self.before.0 + 1
    }

    pub(super) fn last(&self) -> u64 {
        self.before.0 + self.entries.len() as u64
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn snapshot_index(&self) -> u64 {
        self.snapshot.get_metadata().index
    }

    /// Whether the log has grown enough for a new snapshot.
    pub(super) fn is_long(&self) -> bool {
        self.bytes > SNAPSHOT_AFTER_BYTES || self.last().saturating_sub(self.snapshot_index()) > SNAPSHOT_AFTER_ENTRIES
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    pub(super) fn take_waiting(&mut self) -> BTreeSet<u64> {
        std::mem::take(self.waiting.get_mut())
    }

    pub(super) fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.before.0 {
            return Some(self.before.1);
        }
        let place = usize::try_from(index.checked_sub(self.first())?).ok()?;
        self.entries.get(place).map(|entry| entry.term)
    }

    /// Appends; what was at or after the first index goes.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(start) = entries.first().map(|entry| entry.index) else { return };
        assert!(start > self.before.0 && start <= self.last() + 1, "entries from {start} leave a gap in the log");
        while self.last() >= start {
            let gone = self.entries.pop_back().expect("the last entry is behind the first");
            self.bytes -= weight(&gone);
        }
        for entry in entries {
            self.bytes += weight(entry);
            self.entries.push_back(entry.clone());
        }
    }

    /// Replaces all with a snapshot from a leader.
    pub(super) fn restore(&mut self, snapshot: Snapshot) {
        self.entries.clear();
        self.bytes = 0;
        self.before = (snapshot.get_metadata().index, snapshot.get_metadata().term);
        self.snapshot = snapshot;
        self.waiting.get_mut().clear();
    }

    /// Takes a snapshot of this node's own state and drops entries well behind it.
    pub(super) fn compact(&mut self, snapshot: Snapshot) {
        let index = snapshot.get_metadata().index;
        self.snapshot = snapshot;
        let keep_from = index.saturating_sub(ENTRIES_KEPT_BEHIND_SNAPSHOT);
        while self.before.0 < index && (self.before.0 < keep_from || self.bytes > SNAPSHOT_AFTER_BYTES / 2) {
            let Some(gone) = self.entries.pop_front() else { return };
            self.bytes -= weight(&gone);
            self.before = (gone.index, gone.term);
        }
    }
}

/// Whether `id` has a place in this configuration.
pub(super) fn names(conf: &ConfState, id: u64) -> bool {
    [&conf.voters, &conf.learners, &conf.voters_outgoing].iter().any(|ids| ids.contains(&id))
}

impl Storage for Mirror {
    fn initial_state(&self) -> Result<RaftState> {
        let conf_state = self.snapshot.get_metadata().get_conf_state().clone();
        Ok(RaftState { hard_state: self.hard.clone(), conf_state })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low < self.first() {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last() + 1 || low > high {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let place = |index: u64| usize::try_from(index - self.first()).expect("within the log, which is in memory");
        let max_bytes = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0u64;
        let mut taken = Vec::new();
        for entry in self.entries.range(place(low)..place(high)) {
            bytes += weight(entry) as u64;
            // One entry always goes, or an oversized one would block the log.
            if bytes > max_bytes && !taken.is_empty() {
                break;
            }
            taken.push(entry.clone());
        }
        Ok(taken)
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index < self.before.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        self.term_at(index).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last())
    }

    /// A receiver refuses a snapshot whose configuration does not name it, so
    /// one from before it joined is as good as none.
    fn snapshot(&self, request_index: u64, to: u64) -> Result<Snapshot> {
        let meta = self.snapshot.get_metadata();
        if meta.index > 0 && meta.index >= request_index && names(meta.get_conf_state(), to) {
            return Ok(self.snapshot.clone());
        }
        self.waiting.borrow_mut().insert(to);
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
