//! The files of a disk, byte by byte in the format of a real data directory:
//! what a crash leaves of a write, what rots, and what a new process reads.

use std::collections::BTreeMap;

use bytes::Bytes;
use funk_proto::Persist;
use funk_proto::limits::LOG_FILE_BYTES_MAX;
use funk_proto::rng::Rng;
use funk_proto::wire::journal::{self, Damaged, FileKind};

/// A disk writes so many bytes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// One data directory.
#[derive(Clone, Debug)]
pub(super) struct Files {
    files: BTreeMap<String, Vec<u8>>,
    /// The log file that is written to, by its first record.
    log: Option<u64>,
    /// Sequence of the next record.
    next: u64,
}

impl Default for Files {
    fn default() -> Self {
        Self { files: BTreeMap::new(), log: None, next: 1 }
    }
}

fn draw(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("below a usize")
}

/// A batch as the bytes that are written at the end of a log file.
fn encode(first: u64, batch: &[&Persist]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (sequence, persist) in (first..).zip(batch) {
        journal::put_record(&mut bytes, sequence, first, &persist.record);
    }
    bytes
}

impl Files {
    /// A batch becomes stable. One that replaces what was before it is alone.
    pub(super) fn append(&mut self, batch: &[&Persist]) {
        let first = self.next;
        self.next += batch.len() as u64;
        match batch {
            [] => {}
            [persist] if persist.replaces => {
                let whole = journal::single(FileKind::Snapshot, first, &persist.record);
                self.files.clear();
                self.files.insert(journal::snapshot_name(first), whole);
                self.log = None;
            }
            _ => self.log_file(first).extend_from_slice(&encode(first, batch)),
        }
    }

    /// The log file for a batch that begins with this record.
    fn log_file(&mut self, first: u64) -> &mut Vec<u8> {
        let length = |log| self.files.get(&journal::log_name(log)).map_or(0, Vec::len);
        let log = self.log.filter(|&log| length(log) < LOG_FILE_BYTES_MAX).unwrap_or(first);
        self.log = Some(log);
        self.files.entry(journal::log_name(log)).or_insert_with(|| journal::header(FileKind::Log, log).to_vec())
    }

    /// A crash, or a full disk, in the middle of a batch: some of its bytes got through.
    pub(super) fn tear(&mut self, batch: &[&Persist], rng: &mut Rng) {
        match batch {
            [] => {}
            [persist] if persist.replaces => self.tear_snapshot(persist, rng),
            _ => self.tear_log(batch, rng),
        }
    }

    /// A snapshot has its name only when it is whole; then the files before it go one by one.
    fn tear_snapshot(&mut self, persist: &Persist, rng: &mut Rng) {
        if rng.below(2) == 0 {
            return;
        }
        let going = draw(rng, self.files.len() + 1);
        let names: Vec<String> = self.files.keys().take(going).cloned().collect();
        for name in names {
            self.files.remove(&name);
        }
        let whole = journal::single(FileKind::Snapshot, self.next, &persist.record);
        self.files.insert(journal::snapshot_name(self.next), whole);
    }

    fn tear_log(&mut self, batch: &[&Persist], rng: &mut Rng) {
        let bytes = encode(self.next, batch);
        let file = self.log_file(self.next);
        let start = file.len();
        if start == journal::HEADER_BYTES && rng.below(4) == 0 {
            // The file itself was being made: it has no name yet.
            self.files.remove(&journal::log_name(self.next));
            self.log = None;
            return;
        }
        match rng.below(3) {
            // All of it got through, and nobody was told.
            0 => file.extend_from_slice(&bytes),
            // A first part.
            1 => file.extend_from_slice(&bytes[..draw(rng, bytes.len())]),
            // Sectors in any order, over the zeros that were written ahead.
            _ => {
                file.resize(start + bytes.len(), 0);
                let mut at = 0;
                while at < bytes.len() {
                    let end = (at + SECTOR_BYTES - (start + at) % SECTOR_BYTES).min(bytes.len());
                    if rng.below(2) == 0 {
                        file[start + at..start + end].copy_from_slice(&bytes[at..end]);
                    }
                    at = end;
                }
            }
        }
    }

    /// One bit of what is stable is another one, not in the last batch of the log. Says where; `None` if there is nothing else.
    pub(super) fn rot(&mut self, rng: &mut Rng) -> Option<(String, usize)> {
        self.open().ok()?;
        let last = self.files.keys().rfind(|name| name.starts_with("log-")).cloned();
        let rots = |(name, bytes): (&String, &Vec<u8>)| {
            if Some(name) == last.as_ref() { last_batch(name, bytes) } else { bytes.len() }
        };
        let sizes: Vec<usize> = self.files.iter().map(rots).collect();
        let mut at = draw(rng, sizes.iter().sum::<usize>().max(1));
        for (size, (name, bytes)) in sizes.into_iter().zip(&mut self.files) {
            if at < size {
                bytes[at] ^= 1 << rng.below(8);
                return Some((name.clone(), at));
            }
            at -= size;
        }
        None
    }

    /// What a new process finds. A torn end is cut off.
    ///
    /// # Errors
    /// The file that cannot be used; nothing is changed then.
    pub(super) fn open(&mut self) -> Result<Vec<Bytes>, Damaged> {
        let files = self.files.iter().map(|(name, bytes)| (name.clone(), Bytes::copy_from_slice(bytes))).collect();
        let opened = journal::open(&files)?;
        for name in &opened.obsolete {
            self.files.remove(name);
        }
        if let Some((name, end)) = opened.tail {
            if end == 0 {
                self.files.remove(&name);
            } else {
                self.files.get_mut(&name).expect("it was opened").truncate(end);
            }
        }
        (self.next, self.log) = (opened.next, None);
        Ok(opened.records)
    }
}

/// Where the last batch of a sound log file begins. If it is damaged, nothing tells it from one that was being written.
fn last_batch(name: &str, bytes: &[u8]) -> usize {
    let Some((_, first)) = journal::parse_name(name) else { return 0 };
    let records = journal::scan(&Bytes::copy_from_slice(bytes), first).map(|scan| scan.records).unwrap_or_default();
    let batch_at = |at: usize| {
        let number = bytes.get(at + 16..)?.first_chunk()?;
        Some(u64::from_le_bytes(*number))
    };
    let (mut at, mut start, mut batch) = (journal::HEADER_BYTES, 0, None);
    for record in &records {
        if batch_at(at) != batch {
            (start, batch) = (at, batch_at(at));
        }
        at += journal::record_bytes(record.len());
    }
    start
}
