//! The ring.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BufMut;
use funk_proto::id::LogIndex;
use funk_proto::wire::varint;
use funk_proto::{Input, Node, NodeConfig, Output, Recovered, Request, Seed, Timestamp};

use crate::digest::{Facts, Outputs, of_output};
use crate::entry::{put_applied, put_check, put_input, put_outputs, put_request, put_time};
use crate::file::{Dump, Segment};
use crate::head::{Head, Start};
use crate::limits::{INPUTS_PER_CHECK, SEGMENT_BYTES};

/// Bytes of a record beside the bytes of its payload, at most.
const RECORD_HEADER_BYTES_MAX: usize = 128;

/// Keeps what goes into a node, in memory that it had from the beginning. When that is full, it forgets the oldest part,
/// and with that the beginning: what is left can be read, and not be replayed.
#[derive(Debug)]
pub struct Recorder {
    head: Head,
    limit: usize,
    sealed: VecDeque<Arc<Segment>>,
    /// Bytes of the sealed ones, and of what the store held.
    bytes: usize,
    current: Segment,
    free: Vec<Vec<u8>>,
    /// The body that is made; empty between two records, kept for its memory.
    body: Vec<u8>,
    /// The number of the next record.
    next: u64,
    last: Timestamp,
    taken: Outputs,
    applied: LogIndex,
    inputs: u32,
}

impl Recorder {
    /// A recorder of a node that is started with these; `limit` in bytes. `zero_ns` is the wall clock's time, in Unix
    /// nanoseconds, at the node's time zero.
    pub fn new(
        config: &NodeConfig,
        recovered: &Recovered,
        seed: Seed,
        now: Timestamp,
        zero_ns: i64,
        limit: usize,
    ) -> Self {
        let held: usize = recovered.records.iter().map(|record| record.len()).sum();
        let start = (held <= limit / 2).then(|| Start { seed, at: now, recovered: recovered.clone() });
        let bytes = if start.is_some() { held } else { 0 };
        let head = Head {
            version: env!("CARGO_PKG_VERSION").into(),
            reason: String::new(),
            written_ns: 0,
            zero_ns,
            hashed: false,
            config: config.clone(),
            start,
        };
        let spares = limit / SEGMENT_BYTES;
        Self {
            head,
            limit,
            sealed: VecDeque::with_capacity(spares + 1),
            bytes,
            current: Segment { sequence: 0, first: 0, base: now, bytes: Vec::with_capacity(SEGMENT_BYTES) },
            free: (0..spares).map(|_| Vec::with_capacity(SEGMENT_BYTES)).collect(),
            body: Vec::with_capacity(SEGMENT_BYTES),
            next: 0,
            last: now,
            taken: Outputs::default(),
            applied: LogIndex(0),
            inputs: 0,
        }
    }

    /// The node is about to be handed this.
    pub fn input(&mut self, now: Timestamp, node: &Node, input: &Input) {
        self.note_outputs(now);
        self.check(now, node);
        let length = match input {
            Input::Datagram { bytes, .. } | Input::Message { bytes, .. } => bytes.len(),
            Input::SnapshotTaken { state, .. } => state.len(),
            Input::StateGiven { state, .. } => state.as_ref().map_or(0, |state| state.len()),
            Input::Drained { shards, .. } => shards.len() * 5,
            _ => 0,
        };
        self.record(now, length, |body, before| put_input(body, input, |body| put_time(body, before, now)));
    }

    /// The application is about to ask for this.
    pub fn request(&mut self, now: Timestamp, node: &Node, request: &Request) {
        self.note_outputs(now);
        self.check(now, node);
        let length = match request {
            Request::Propose(bytes) => bytes.len(),
            Request::Join(addresses) => addresses.len() * 32,
            _ => 0,
        };
        self.record(now, length, |body, before| {
            let known = put_request(body, request, |body| put_time(body, before, now));
            debug_assert!(known.is_some(), "a request without a number: {request:?}");
        });
    }

    /// The node said this.
    pub fn output(&mut self, output: &Output) {
        self.taken.take(of_output(output));
    }

    /// The node has handled what it was handed last.
    pub fn handled(&mut self, now: Timestamp, node: &Node) {
        if node.inspect().applied() <= self.applied {
            return;
        }
        for (index, hash) in node.inspect().applied_hashes(self.applied) {
            self.applied = index;
            self.record(now, 0, |body, before| put_applied(body, index, hash, |body| put_time(body, before, now)));
        }
    }

    /// Whether the beginning is still there, so that a dump can be replayed.
    pub fn is_whole(&self) -> bool {
        self.head.is_whole()
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes + self.current.bytes.len()
    }

    /// All that is kept, for another thread to write: only the segment that is open is copied.
    pub fn dump(&self) -> Dump {
        let current = (!self.current.bytes.is_empty()).then(|| Arc::new(self.current.clone()));
        Dump::new(self.head.clone(), self.sealed.iter().cloned().chain(current).collect(), self.next)
    }

    fn note_outputs(&mut self, now: Timestamp) {
        if self.taken.count > 0 {
            let (count, digest) = (self.taken.count, self.taken.digest());
            self.taken.begin_again();
            self.record(now, 0, |body, before| put_outputs(body, count, digest, |body| put_time(body, before, now)));
        }
    }

    fn check(&mut self, now: Timestamp, node: &Node) {
        self.inputs += 1;
        if self.inputs >= INPUTS_PER_CHECK {
            self.inputs = 0;
            let facts = Facts::of(node);
            self.record(now, 0, |body, before| put_check(body, &facts, |body| put_time(body, before, now)));
        }
    }

    fn record(&mut self, now: Timestamp, length: usize, put: impl FnOnce(&mut Vec<u8>, Timestamp)) {
        let room = length + RECORD_HEADER_BYTES_MAX;
        if self.current.bytes.len() + room > self.current.bytes.capacity() {
            self.seal(now, room);
        }
        if self.current.bytes.is_empty() {
            (self.current.first, self.current.base, self.last) = (self.next, now, now);
        }
        self.body.clear();
        put(&mut self.body, self.last);
        put_record(&mut self.current.bytes, self.next, &self.body);
        self.next += 1;
        self.last = now;
    }

    /// The open segment is full: the next one is begun, and the oldest are forgotten.
    fn seal(&mut self, now: Timestamp, room: usize) {
        let sequence = self.current.sequence + 1;
        while self.bytes + self.current.bytes.len() + room.max(SEGMENT_BYTES) > self.limit {
            // What the store held is of no use without what came after it.
            if let Some(start) = self.head.start.take() {
                self.bytes -= start.recovered.records.iter().map(|record| record.len()).sum::<usize>();
            }
            let Some(oldest) = self.sealed.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
            // One that is being written to a file is freed there.
            if let Ok(segment) = Arc::try_unwrap(oldest) {
                self.keep(segment.bytes);
            }
        }
        let fits = |bytes: &Vec<u8>| bytes.capacity() >= room;
        let bytes = self.free.pop().filter(fits).unwrap_or_else(|| Vec::with_capacity(room.max(SEGMENT_BYTES)));
        let next = Segment { sequence, first: self.next, base: now, bytes };
        let full = std::mem::replace(&mut self.current, next);
        if full.bytes.is_empty() {
            self.current.sequence = full.sequence;
            self.keep(full.bytes);
        } else {
            self.bytes += full.bytes.len();
            self.sealed.push_back(Arc::new(full));
        }
    }

    /// Keeps the memory of a segment for another one; what was made for a large input is given back.
    fn keep(&mut self, mut bytes: Vec<u8>) {
        if bytes.capacity() <= 2 * SEGMENT_BYTES {
            bytes.clear();
            self.free.push(bytes);
        }
    }
}

/// One record: the length of its body, the body, and a crc over its number and the body.
pub(crate) fn put_record(out: &mut Vec<u8>, number: u64, body: &[u8]) {
    varint::put(out, body.len() as u64);
    out.put_slice(body);
    out.put_u32_le(record_crc(number, body));
}

pub(crate) fn record_crc(number: u64, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&number.to_le_bytes());
    crc.update(body);
    crc.finalize()
}
