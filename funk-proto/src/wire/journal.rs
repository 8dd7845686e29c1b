//! What a data directory's files hold: pure functions between bytes and
//! records, so that a simulated disk uses the same format as a real one.
//!
//! Every file begins with a header: magic, version, fill, a number, crc. After it
//! come records, each at a multiple of eight bytes: crc, length, sequence,
//! the first sequence of its batch, payload. A length of zero is the end; log
//! files are filled with zeros ahead of the records.
//!
//! | file | holds |
//! |---|---|
//! | `log-<first>` | records from sequence `<first>` on |
//! | `snap-<sequence>` | one record that replaces all up to its own sequence |
//! | `identity` | one record: who this directory belongs to |
//!
//! A batch is written and then synced before the next one begins, and names
//! its own first sequence. That tells the two kinds of bad records apart: if a
//! later batch was begun, the bad one was stable before, so the disk lost it
//! ([`Damage::Middle`]); if not, the power failed while it was written, nobody
//! was told of it, and it is cut off.
//!
//! Files have their names only when they are whole and stable. A log is as long as its header's fill, and each time a
//! batch would reach the end it is first made longer, to as much past the batch, and synced. So one that is too short for
//! its records, or for one that was begun, lost its end after it was stable ([`Damage::Short`]). Without fill, 0, nothing is known.

use std::collections::BTreeMap;
use std::fmt;

use bytes::{BufMut, Bytes};

/// Version of all files that this version writes.
pub const VERSION: u32 = 1;
/// Bytes of a file's header.
pub const HEADER_BYTES: usize = 32;
/// Bytes of a record before its payload.
pub const RECORD_HEADER_BYTES: usize = 24;
/// No sequence comes near it; below it, sums cannot overflow.
const SEQUENCE_MAX: u64 = 1 << 62;
/// Records begin at multiples of so many bytes.
const ALIGN: usize = 8;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Records in order.
    Log,
    /// One record that replaces all before it.
    Snapshot,
    /// Who the directory belongs to.
    Identity,
}

impl FileKind {
    fn magic(self) -> [u8; 8] {
        *match self {
            Self::Log => b"funk-log",
            Self::Snapshot => b"funksnap",
            Self::Identity => b"funkname",
        }
    }
}

/// Why a file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// A later version of funk wrote it.
    Newer {
        /// Its version.
        version: u32,
    },
    /// The header is not one of ours.
    Header,
    /// What had been stable at this offset is not there any more.
    Middle {
        /// Bytes from the start of the file.
        offset: usize,
    },
    /// The file was longer once, with records that were stable in what is gone.
    Short {
        /// Bytes that it has.
        bytes: usize,
        /// Bytes that it had at least.
        stable: usize,
    },
    /// The records from this sequence on are in no file.
    Missing {
        /// The first that is missing.
        sequence: u64,
    },
    /// A record that the node's log cannot contain.
    Content {
        /// Its place among the records read.
        record: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { version } => {
                write!(f, "written in format {version} by a newer funk, this one reads up to {VERSION}")
            }
            Self::Header => f.write_str("damaged at offset 0: not a file of funk"),
            Self::Middle { offset } => {
                write!(f, "damaged at offset {offset}: a record that was stable is not there any more")
            }
            Self::Short { bytes, stable } => {
                write!(f, "cut short: it has {bytes} bytes and had at least {stable}, so stable records are lost")
            }
            Self::Missing { sequence } => write!(f, "the file with record {sequence} is missing before this one"),
            Self::Content { record, why } => write!(f, "record {record} of the log: {why}"),
        }
    }
}

/// A file that cannot be used. This node must not vote: remove the data
/// directory to make it a new member, if the other nodes still have a majority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The file's name in the directory.
    pub file: String,
    /// What is wrong.
    pub damage: Damage,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.damage)
    }
}

impl std::error::Error for Damaged {}

/// Name of the log file whose first record has this sequence.
pub fn log_name(first: u64) -> String {
    format!("log-{first:016x}")
}

/// Name of the snapshot file for the record of this sequence.
pub fn snapshot_name(sequence: u64) -> String {
    format!("snap-{sequence:016x}")
}

/// The number in a log's or snapshot's file name.
pub fn parse_name(name: &str) -> Option<(FileKind, u64)> {
    let (kind, digits) = match name.split_once('-')? {
        ("log", digits) => (FileKind::Log, digits),
        ("snap", digits) => (FileKind::Snapshot, digits),
        _ => return None,
    };
    let number = u64::from_str_radix(digits, 16).ok().filter(|&number| digits.len() == 16 && number <= SEQUENCE_MAX)?;
    Some((kind, number))
}

/// The first bytes of a file; `number` is the one in its name, 0 without one.
pub fn header(kind: FileKind, number: u64) -> [u8; HEADER_BYTES] {
    header_with_fill(kind, number, 0)
}

/// The first bytes of a log file that is made this long before anything is written to it. It is always longer than its
/// records: before a batch would reach its end it grows to as much past that.
pub fn log_header(first: u64, fill: u32) -> [u8; HEADER_BYTES] {
    header_with_fill(FileKind::Log, first, fill)
}

fn header_with_fill(kind: FileKind, number: u64, fill: u32) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(&kind.magic());
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..16].copy_from_slice(&fill.to_le_bytes());
    out[16..24].copy_from_slice(&number.to_le_bytes());
    let crc = crc32fast::hash(&out[..24]);
    out[24..28].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Checks the first bytes of a file.
///
/// # Errors
/// [`Damage::Newer`] or [`Damage::Header`].
pub fn check_header(kind: FileKind, number: u64, bytes: &[u8]) -> Result<(), Damage> {
    let head = bytes.first_chunk::<HEADER_BYTES>().ok_or(Damage::Header)?;
    if head[..8] != kind.magic() {
        return Err(Damage::Header);
    }
    let version = le_u32(&head[8..]);
    // Checked before the crc: a newer format may have another header.
    if version > VERSION && head[24..28] == crc32fast::hash(&head[..24]).to_le_bytes() {
        return Err(Damage::Newer { version });
    }
    let fill = if kind == FileKind::Log { le_u32(&head[12..]) } else { 0 };
    if *head == header_with_fill(kind, number, fill) { Ok(()) } else { Err(Damage::Header) }
}

/// Bytes that a record with a payload of this length takes.
pub fn record_bytes(payload: usize) -> usize {
    (RECORD_HEADER_BYTES + payload).next_multiple_of(ALIGN)
}

/// Appends one record. `batch` is the sequence of the first record of its
/// batch: all before that are stable when this one is written.
///
/// # Panics
/// If the payload is empty or over 4 GiB: the core makes no such record.
pub fn put_record(out: &mut Vec<u8>, sequence: u64, batch: u64, payload: &[u8]) {
    assert!(!payload.is_empty() && batch <= sequence, "a record has contents and is in its batch");
    let start = out.len();
    out.put_u32_le(0);
    out.put_u32_le(u32::try_from(payload.len()).expect("a record is far below 4 GiB"));
    out.put_u64_le(sequence);
    out.put_u64_le(batch);
    out.put_slice(payload);
    let crc = crc32fast::hash(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    out.resize(start + record_bytes(payload.len()), 0);
}

fn le_u32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(*bytes.first_chunk().expect("the caller has checked the length"))
}

fn le_u64(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(*bytes.first_chunk().expect("the caller has checked the length"))
}

struct Record {
    sequence: u64,
    batch: u64,
    payload: std::ops::Range<usize>,
}

/// The record at this offset, if a whole and sound one is there.
fn record_at(bytes: &[u8], offset: usize) -> Option<Record> {
    let rest = bytes.get(offset..).filter(|rest| rest.len() > RECORD_HEADER_BYTES)?;
    let length = le_u32(&rest[4..]) as usize;
    let whole = rest.get(..RECORD_HEADER_BYTES.checked_add(length)?).filter(|_| length > 0)?;
    if crc32fast::hash(&whole[4..]) != le_u32(whole) {
        return None;
    }
    let start = offset + RECORD_HEADER_BYTES;
    Some(Record { sequence: le_u64(&whole[8..]), batch: le_u64(&whole[16..]), payload: start..start + length })
}

/// Whether some record behind `offset` was begun after `sequence` was stable.
fn was_stable(bytes: &[u8], offset: usize, sequence: u64) -> bool {
    (offset..bytes.len()).step_by(ALIGN).any(|at| {
        // The cheap look first: a crc over each offset would take for ever.
        let likely =
            bytes.get(at + 8..at + RECORD_HEADER_BYTES).is_some_and(|numbers| le_u64(&numbers[8..]) > sequence);
        likely && record_at(bytes, at).is_some_and(|record| record.batch > sequence && record.sequence >= record.batch)
    })
}

/// What a log file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The payloads, the first with the sequence that the file begins with.
    pub records: Vec<Bytes>,
    /// Where the next record would go.
    pub end: usize,
    /// How long the file was at least when its last record was written.
    pub stable: usize,
}

impl Scan {
    /// The batch that ends here was written: before that, the file was made longer if it reached over the end.
    fn extend(&mut self, fill: usize) {
        if fill > 0 && self.end >= self.stable {
            self.stable = self.end + fill;
        }
    }
}

/// Where the record ends that was begun at this offset and is not whole, as far as can be told.
fn begun_until(bytes: &[u8], offset: usize) -> usize {
    let rest = bytes.get(offset..).unwrap_or_default();
    let length = rest.get(4..8).map_or(0, |length| le_u32(length) as usize);
    if rest.len() >= RECORD_HEADER_BYTES && length == 0 || rest.iter().all(|&byte| byte == 0) {
        return offset;
    }
    offset + record_bytes(length)
}

/// Reads the records of a log file whose header has been checked.
///
/// # Errors
/// [`Damage::Middle`] if a record that was stable is not there, [`Damage::Short`] if the end of the file is not.
pub fn scan(bytes: &Bytes, first: u64) -> Result<Scan, Damage> {
    let fill = bytes.get(12..16).map_or(0, |fill| le_u32(fill) as usize);
    let mut scan = Scan { records: Vec::new(), end: HEADER_BYTES, stable: fill };
    let mut batch = first;
    loop {
        let expected = first + scan.records.len() as u64;
        let record = record_at(bytes, scan.end).filter(|record| record.sequence == expected);
        let Some(record) = record else {
            if was_stable(bytes, scan.end, expected) {
                return Err(Damage::Middle { offset: scan.end });
            }
            scan.extend(fill);
            let begun = if fill > 0 { begun_until(bytes, scan.end) } else { 0 };
            let stable = scan.stable.max(begun);
            return if bytes.len() < stable { Err(Damage::Short { bytes: bytes.len(), stable }) } else { Ok(scan) };
        };
        if record.batch != batch {
            scan.extend(fill);
            batch = record.batch;
        }
        scan.end += record_bytes(record.payload.len());
        scan.records.push(bytes.slice(record.payload));
    }
}

/// The one record of a snapshot or identity file. These are complete before
/// they get their name, so nothing is forgiven.
///
/// # Errors
/// What is wrong with the file.
pub fn read_single(kind: FileKind, number: u64, bytes: &Bytes) -> Result<Bytes, Damage> {
    check_header(kind, number, bytes)?;
    let record = record_at(bytes, HEADER_BYTES).filter(|record| record.sequence == number);
    let record = record.ok_or(Damage::Middle { offset: HEADER_BYTES })?;
    Ok(bytes.slice(record.payload))
}

/// A file with one record, from its first byte to its last.
pub fn single(kind: FileKind, number: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + record_bytes(payload.len()));
    out.extend_from_slice(&header(kind, number));
    put_record(&mut out, number, number, payload);
    out
}

/// What a directory's files hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// The records, in order, from the newest snapshot on.
    pub records: Vec<Bytes>,
    /// Sequence of the next record to be written, from 1.
    pub next: u64,
    /// The last log file and the length to which it must be cut, with [`log_header`] saying so; without records in it, 0.
    pub tail: Option<(String, usize)>,
    /// Files that the newest snapshot has made useless.
    pub obsolete: Vec<String>,
}

/// Puts the files of a directory together; names that are none of ours are left alone.
///
/// # Errors
/// The file that cannot be used. Nothing must be written to the directory then.
pub fn open(files: &BTreeMap<String, Bytes>) -> Result<Journal, Damaged> {
    let named = |wanted: FileKind| {
        let parsed = files.iter().filter_map(|(name, bytes)| Some((parse_name(name)?, name, bytes)));
        parsed.filter(move |((kind, _), _, _)| *kind == wanted).map(|((_, number), name, bytes)| (number, name, bytes))
    };
    let mut journal = Journal::default();
    let mut base = 0;
    if let Some((sequence, name, bytes)) = named(FileKind::Snapshot).last() {
        let record = read_single(FileKind::Snapshot, sequence, bytes);
        journal.records.push(record.map_err(|damage| Damaged { file: name.clone(), damage })?);
        base = sequence;
    }
    journal.next = base + 1;
    journal.obsolete.extend(named(FileKind::Snapshot).filter(|(n, ..)| *n < base).map(|(_, name, _)| name.clone()));
    journal.obsolete.extend(named(FileKind::Log).filter(|(n, ..)| *n <= base).map(|(_, name, _)| name.clone()));
    let logs: Vec<_> = named(FileKind::Log).filter(|(first, ..)| *first > base).collect();
    for (at, (first, name, bytes)) in logs.iter().enumerate() {
        let damaged = |damage| Damaged { file: (*name).clone(), damage };
        if *first != journal.next {
            return Err(damaged(Damage::Missing { sequence: journal.next }));
        }
        let last = at + 1 == logs.len();
        check_header(FileKind::Log, *first, bytes).map_err(damaged)?;
        let scanned = scan(bytes, *first).map_err(damaged)?;
        journal.next = first + scanned.records.len() as u64;
        // The next file was begun when all of this one was stable.
        if logs.get(at + 1).is_some_and(|(next, ..)| *next != journal.next) {
            return Err(damaged(Damage::Middle { offset: scanned.end }));
        }
        if last {
            let end = if scanned.records.is_empty() { 0 } else { scanned.end };
            journal.tail = Some(((*name).clone(), end));
        }
        journal.records.extend(scanned.records);
    }
    Ok(journal)
}

#[cfg(test)]
mod tests;
