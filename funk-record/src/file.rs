//! A whole recording as bytes: writing it, reading it, and finding what is damaged.

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use funk_proto::Timestamp;
use funk_proto::wire::varint;

use crate::entry::{Entry, Record};
use crate::head::Head;
use crate::limits::HEAD_BYTES_MAX;
use crate::recorder::{put_record, record_crc};
use crate::redact::Redactor;

/// Version of the format that this version writes, and the only one that it reads.
pub const FORMAT_VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"funk-rec";
const SEGMENT_MAGIC: [u8; 4] = *b"fseg";
const END_MAGIC: [u8; 4] = *b"fend";
const SEGMENT_HEADER_BYTES: usize = 32;
const END_BYTES: usize = 16;
/// Bytes before the head.
const OPENING_BYTES: usize = 16;

/// A part of the ring.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) sequence: u32,
    /// Number of its first record.
    pub(crate) first: u64,
    /// Time of that one.
    pub(crate) base: Timestamp,
    pub(crate) bytes: Vec<u8>,
}

/// Whether a file holds what the application proposed and handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payloads {
    /// Bytes of the same length, drawn from the payload's hash, stand for it.
    #[default]
    Hashed,
    /// As they were.
    Kept,
}

/// What a recorder kept, to be written.
#[derive(Clone, Debug)]
pub struct Dump {
    head: Head,
    segments: Vec<Arc<Segment>>,
    records: u64,
}

impl Dump {
    pub(crate) fn new(head: Head, segments: Vec<Arc<Segment>>, records: u64) -> Self {
        Self { head, segments, records }
    }

    /// Whether it begins with the process, so that it can be replayed.
    pub fn is_whole(&self) -> bool {
        self.head.is_whole()
    }

    /// Writes the file; `now_ns` is the wall clock's time. Gives the number of bytes.
    ///
    /// # Errors
    /// What the writer says; the file is useless then.
    pub fn write(&self, to: &mut impl Write, reason: &str, now_ns: i64, payloads: Payloads) -> io::Result<u64> {
        let mut redactor = (payloads == Payloads::Hashed).then(Redactor::default);
        let mut head = Head { reason: reason.into(), written_ns: now_ns, ..self.head.clone() };
        head.hashed = redactor.is_some();
        if let (Some(redactor), Some(start)) = (&redactor, &mut head.start) {
            start.recovered.records.iter_mut().for_each(|record| *record = redactor.stored(record));
        }
        let mut out = opening(&head)?;
        let mut written = out.len();
        to.write_all(&out)?;
        for segment in &self.segments {
            let hashed = redactor.as_mut().map(|redactor| hash_payloads(segment, redactor));
            let bytes = hashed.as_ref().unwrap_or(&segment.bytes);
            out.clear();
            put_segment_header(&mut out, segment, bytes.len());
            to.write_all(&out)?;
            to.write_all(bytes)?;
            written += out.len() + bytes.len();
        }
        out.clear();
        out.put_slice(&END_MAGIC);
        out.put_u64_le(self.records);
        out.put_u32_le(crc32fast::hash(&out));
        to.write_all(&out)?;
        to.flush()?;
        Ok((written + out.len()) as u64)
    }

    /// The file in memory.
    pub fn to_bytes(&self, reason: &str, now_ns: i64, payloads: Payloads) -> Bytes {
        let mut bytes = Vec::new();
        self.write(&mut bytes, reason, now_ns, payloads).expect("memory takes all");
        bytes.into()
    }
}

fn opening(head: &Head) -> io::Result<Vec<u8>> {
    let mut fields = Vec::new();
    head.put(&mut fields);
    let length = u32::try_from(fields.len()).ok().filter(|&length| length as usize <= HEAD_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("what the store held is too large for a recording"))?;
    let mut out = Vec::with_capacity(OPENING_BYTES + fields.len() + 4);
    out.put_slice(&MAGIC);
    out.put_u32_le(FORMAT_VERSION);
    out.put_u32_le(length);
    out.put_slice(&fields);
    out.put_u32_le(crc32fast::hash(&out));
    Ok(out)
}

fn put_segment_header(out: &mut Vec<u8>, segment: &Segment, length: usize) {
    out.put_slice(&SEGMENT_MAGIC);
    out.put_u32_le(segment.sequence);
    out.put_u64_le(segment.first);
    out.put_u64_le(segment.base.as_nanos());
    out.put_u32_le(u32::try_from(length).expect("an input is far below 4 GiB"));
    out.put_u32_le(crc32fast::hash(out));
}

/// The segment with bytes of the same length for all payloads.
fn hash_payloads(segment: &Segment, redactor: &mut Redactor) -> Vec<u8> {
    let mut out = Vec::with_capacity(segment.bytes.len());
    let (mut number, mut before) = (segment.first, segment.base);
    let mut rest = Bytes::copy_from_slice(&segment.bytes);
    while let Some(body) = take_body(&mut rest) {
        let Some((at, entry)) = Entry::parse(body.clone(), before) else { break };
        match redactor.entry(&entry) {
            Some(entry) => {
                let mut hashed = Vec::with_capacity(body.len());
                entry.put(&mut hashed, before, at);
                put_record(&mut out, number, &hashed);
            }
            None => put_record(&mut out, number, &body),
        }
        (number, before) = (number + 1, at);
    }
    out
}

/// The next record's body, unchecked.
fn take_body(rest: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(varint::take(rest)?).ok()?;
    if rest.len() < length.checked_add(4)? {
        return None;
    }
    let body = rest.split_to(length);
    rest.advance(4);
    Some(body)
}

/// A file that cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreadable {
    /// It does not begin as a recording does.
    NotARecording,
    /// Another version of funk wrote it.
    Version {
        /// The format's version.
        format: u32,
    },
    /// How it begins is damaged.
    Head {
        /// These bytes of the file are not as they were written.
        bytes: Range<usize>,
    },
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARecording => f.write_str("this is no recording of a node: its first bytes are not `funk-rec`"),
            Self::Version { format } => write!(
                f,
                "the recording is of format {format}, and this program reads format {FORMAT_VERSION}: \
                 use funk-replay of the version that the node ran"
            ),
            Self::Head { bytes } => write!(
                f,
                "the head of the recording, bytes {} to {}, is damaged: nothing of it can be trusted. Copy the file again",
                bytes.start, bytes.end
            ),
        }
    }
}

impl std::error::Error for Unreadable {}

/// A part of a file that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The bytes of the file that it is in.
    pub bytes: Range<usize>,
    /// The record that it is in, or the first that is missing.
    pub record: u64,
    /// What is wrong, in words.
    pub what: &'static str,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}, bytes {} to {}: {}", self.record, self.bytes.start, self.bytes.end, self.what)
    }
}

/// A recording that was read.
#[derive(Clone, Debug)]
pub struct Recording {
    /// How it begins.
    pub head: Head,
    /// All records that are sound, in order.
    pub records: Vec<Record>,
    /// What is damaged, in order. Records in and behind it, up to the end of a segment, are missing.
    pub damages: Vec<Damage>,
}

impl Recording {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Unreadable`] if its head is none. Damage behind the head is told in [`Recording::damages`].
    pub fn read(file: &Bytes) -> Result<Self, Unreadable> {
        if file.get(..MAGIC.len()) != Some(&MAGIC[..]) {
            return Err(Unreadable::NotARecording);
        }
        let bad = |end: usize| Unreadable::Head { bytes: 0..end.min(file.len()) };
        let opening = file.get(..OPENING_BYTES).ok_or_else(|| bad(OPENING_BYTES))?;
        let (format, length) = (le_u32(&opening[8..]), le_u32(&opening[12..]) as usize);
        if length > HEAD_BYTES_MAX && format == FORMAT_VERSION {
            return Err(bad(OPENING_BYTES));
        }
        let end = OPENING_BYTES + length;
        let crc = file.get(end..end + 4).map(le_u32);
        let sound = crc.is_some_and(|crc| crc == crc32fast::hash(&file[..end]));
        if format != FORMAT_VERSION {
            // A flipped bit must not look like another version.
            return Err(if sound { Unreadable::Version { format } } else { bad(end.saturating_add(4)) });
        }
        let head = sound.then(|| Head::parse(file.slice(OPENING_BYTES..end))).flatten();
        let head = head.ok_or_else(|| bad(end + 4))?;
        let mut recording = Self { head, records: Vec::new(), damages: Vec::new() };
        recording.read_segments(file, end + 4);
        Ok(recording)
    }

    /// Whether its records follow each other from the start of the process on, up to the first damage.
    pub fn is_whole(&self) -> bool {
        self.head.is_whole() && self.records.first().is_none_or(|record| record.number == 0)
    }

    /// The records up to the first that is missing.
    pub fn sound(&self) -> &[Record] {
        let gap = self.records.windows(2).position(|pair| pair[0].number + 1 != pair[1].number);
        &self.records[..gap.map_or(self.records.len(), |at| at + 1)]
    }

    fn damage(&mut self, bytes: Range<usize>, record: u64, what: &'static str) {
        self.damages.push(Damage { bytes, record, what });
    }

    fn read_segments(&mut self, file: &Bytes, mut at: usize) {
        // Where the first segment begins in the ring, no record is missed.
        let mut next = None;
        while let Some(header) = find_header(file, at) {
            let expected = next.unwrap_or(header.first);
            if header.at > at {
                self.damage(at..header.at, expected, "a segment's header is damaged, or the records behind it are");
            } else if header.first != expected && header.is_segment {
                self.damage(at..at + SEGMENT_HEADER_BYTES, expected, "records before this segment are missing");
            }
            if !header.is_segment {
                if next.is_some_and(|next| next != header.first) && header.at == at {
                    self.damage(at..at + END_BYTES, expected, "records before the end are missing");
                }
                if header.at + END_BYTES != file.len() {
                    self.damage(header.at + END_BYTES..file.len(), header.first, "something follows the end");
                }
                return;
            }
            (at, next) = self.read_records(file, &header);
        }
        let expected = next.unwrap_or_default();
        self.damage(at..file.len(), expected, "the file ends here, before its end was written, or its end is damaged");
    }

    /// Where the segment ends, and the number of the record behind it; `None` if that is not known.
    fn read_records(&mut self, file: &Bytes, header: &Header) -> (usize, Option<u64>) {
        let start = header.at + SEGMENT_HEADER_BYTES;
        let end = start.saturating_add(header.length).min(file.len());
        let (mut number, mut before) = (header.first, header.base);
        let mut rest = file.slice(start..end);
        while !rest.is_empty() {
            let offset = end - rest.len();
            let mut after = rest.clone();
            let Some(body) = take_body(&mut after) else {
                self.damage(offset..end, number, "a record is cut short, or its length is damaged");
                return (end, None);
            };
            let crc = le_u32(&file[end - after.len() - 4..]);
            let entry = Entry::parse(body.clone(), before).filter(|_| crc == record_crc(number, &body));
            let Some((at, entry)) = entry else {
                let what = "a record is not as it was written: its checksum differs";
                self.damage(offset..end - after.len(), number, what);
                return (end, None);
            };
            self.records.push(Record { number, at, offset, entry });
            (number, before, rest) = (number + 1, at, after);
        }
        (end, Some(number))
    }
}

/// The header of a segment, or the end.
struct Header {
    at: usize,
    is_segment: bool,
    first: u64,
    base: Timestamp,
    length: usize,
}

/// The next header at or behind this offset.
fn find_header(file: &Bytes, from: usize) -> Option<Header> {
    (from..file.len()).find_map(|at| {
        let rest = &file[at..];
        if rest.starts_with(&SEGMENT_MAGIC) {
            let head = rest.first_chunk::<SEGMENT_HEADER_BYTES>()?;
            let sound = crc32fast::hash(&head[..28]) == le_u32(&head[28..]);
            let (first, base) = (le_u64(&head[8..]), Timestamp::from_nanos(le_u64(&head[16..])));
            let length = le_u32(&head[24..]) as usize;
            return sound.then_some(Header { at, is_segment: true, first, base, length });
        }
        if rest.starts_with(&END_MAGIC) {
            let end = rest.first_chunk::<END_BYTES>()?;
            let sound = crc32fast::hash(&end[..12]) == le_u32(&end[12..]);
            let base = Timestamp::ZERO;
            return sound.then(|| Header { at, is_segment: false, first: le_u64(&end[4..]), base, length: 0 });
        }
        None
    })
}

fn le_u32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(*bytes.first_chunk().expect("the caller has checked the length"))
}

fn le_u64(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(*bytes.first_chunk().expect("the caller has checked the length"))
}
