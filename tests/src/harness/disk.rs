//! The virtual disk: real file bytes, of which a crash keeps what was synced
//! and, at random, some of what was not.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use funk_proto::wire::journal::{self, FileKind};
use funk_proto::{Persist, Recovered, Token};

/// A data directory whose process may die at any time.
#[derive(Debug)]
pub(super) struct Disk {
    files: BTreeMap<String, Vec<u8>>,
    /// The log file that is written to.
    log: u64,
    /// Sequence of the next record.
    next: u64,
    pending: VecDeque<Persist>,
}

impl Default for Disk {
    fn default() -> Self {
        Self { files: BTreeMap::new(), log: 1, next: 1, pending: VecDeque::new() }
    }
}

impl Disk {
    pub(super) fn write(&mut self, persist: Persist) {
        self.pending.push_back(persist);
    }

    /// The oldest write becomes stable.
    pub(super) fn sync_one(&mut self) -> Option<Token> {
        let persist = self.pending.pop_front()?;
        let sequence = self.next;
        self.next += 1;
        if persist.replaces {
            let whole = journal::single(FileKind::Snapshot, sequence, &persist.record);
            self.files.clear();
            self.files.insert(journal::snapshot_name(sequence), whole);
            self.log = self.next;
        } else {
            journal::put_record(self.log_file(), sequence, sequence, &persist.record);
        }
        Some(persist.token)
    }

    fn log_file(&mut self) -> &mut Vec<u8> {
        let log = self.log;
        let name = journal::log_name(log);
        self.files.entry(name).or_insert_with(|| journal::header(FileKind::Log, log).to_vec())
    }

    /// What a new process finds: half of the first write that was under way has reached the disk.
    pub(super) fn recover(&mut self) -> Recovered {
        if let Some(persist) = self.pending.pop_front().filter(|persist| !persist.replaces) {
            let mut torn = Vec::new();
            journal::put_record(&mut torn, self.next, self.next, &persist.record);
            let half = torn.len() / 2;
            self.log_file().extend_from_slice(&torn[..half]);
        }
        self.pending.clear();
        let files = self.files.iter().map(|(name, bytes)| (name.clone(), Bytes::copy_from_slice(bytes))).collect();
        let opened = journal::open(&files).expect("a crash damages nothing that was stable");
        if let Some((name, end)) = opened.tail {
            if end == 0 {
                self.files.remove(&name);
            } else {
                self.files.get_mut(&name).expect("it was opened").truncate(end);
            }
        }
        (self.next, self.log) = (opened.next, opened.next);
        Recovered { records: opened.records }
    }

    /// Records since the last snapshot, and bytes in all.
    pub(super) fn stable(&self) -> (usize, usize) {
        let records = usize::try_from(self.next - self.log).expect("few");
        (records, self.files.values().map(Vec::len).sum())
    }
}
