//! Payloads replaced by bytes of the same length that are drawn from their hash: what the application proposed, its
//! snapshots, and the states of shards that move. Equal payloads stay equal. Who can guess a payload can confirm the
//! guess, so a file is to be treated with care all the same.

use std::collections::BTreeMap;
use std::hash::Hasher;

use bytes::{Buf, Bytes};
use funk_proto::id::ConnId;
use funk_proto::wire::cluster::{Command, Frame, FrameBody, Op};
use funk_proto::wire::raft::{RaftEntry, RaftMessage, RaftRecord};
use funk_proto::wire::varint;
use funk_proto::{Input, Request, StreamKind};
use prost::Message;
use siphasher::sip::SipHasher13;

use crate::entry::Entry;

/// The first byte of the application's part of a snapshot: field 2, with a length.
const USER_TAG: u8 = 2 << 3 | 2;
/// The first byte of the cluster's part: field 1, with a length.
const STATE_TAG: u8 = 1 << 3 | 2;

/// Remembers how far into a snapshot each stream is.
#[derive(Debug, Default)]
pub(crate) struct Redactor {
    snapshots: BTreeMap<ConnId, Snapshot>,
}

/// A snapshot whose pieces come one after the other.
#[derive(Clone, Copy, Debug)]
struct Snapshot {
    /// Where the cluster's part ends; nobody's payload is before it.
    state_end: u64,
    part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Tag,
    Length,
    Payload,
}

impl Redactor {
    /// The entry without its payloads; `None` if it has none.
    pub(crate) fn entry(&mut self, entry: &Entry) -> Option<Entry> {
        Some(match entry {
            Entry::Input(Input::Message { conn, channel: StreamKind::Cluster, bytes }) => {
                let bytes = self.frame(*conn, bytes)?;
                Entry::Input(Input::Message { conn: *conn, channel: StreamKind::Cluster, bytes })
            }
            Entry::Input(Input::SnapshotTaken { index, state }) => {
                Entry::Input(Input::SnapshotTaken { index: *index, state: filler(state).into() })
            }
            Entry::Input(Input::StateGiven { change, shard, state }) => {
                let state = state.as_ref().map(|state| filler(state).into());
                Entry::Input(Input::StateGiven { change: *change, shard: *shard, state })
            }
            Entry::Request(Request::Propose(bytes)) => Entry::Request(Request::Propose(filler(bytes).into())),
            _ => return None,
        })
    }

    /// A record of the store without its payloads.
    pub(crate) fn stored(&self, bytes: &Bytes) -> Bytes {
        let Ok(record) = RaftRecord::decode(bytes.clone()) else { return bytes.clone() };
        let mut spans = record.entries.iter().flat_map(of_entry).collect();
        if let Some(mut snapshot) = Snapshot::begin(&record.state) {
            snapshot.payload(0, &record.state, &mut spans);
        }
        replaced(bytes, &spans).unwrap_or_else(|| bytes.clone())
    }

    fn frame(&mut self, conn: ConnId, bytes: &Bytes) -> Option<Bytes> {
        let mut spans = Vec::new();
        match Frame::parse(bytes).ok()? {
            FrameBody::Raft(message) => self.raft(conn, &message, &mut spans),
            FrameBody::Propose(entry) | FrameBody::ProposeRefused(entry) => spans.push(entry.bytes),
            FrameBody::Carry(piece) => spans.push(piece.bytes),
            _ => {}
        }
        replaced(bytes, &spans)
    }

    fn raft(&mut self, conn: ConnId, message: &RaftMessage, spans: &mut Vec<Bytes>) {
        spans.extend(message.entries.iter().flat_map(of_entry));
        let Some(chunk) = message.snapshot.as_ref().filter(|chunk| !chunk.data.is_empty()) else { return };
        if chunk.offset == 0 {
            self.snapshots.remove(&conn);
            self.snapshots.extend(Snapshot::begin(&chunk.data).map(|snapshot| (conn, snapshot)));
        }
        match self.snapshots.get_mut(&conn) {
            Some(snapshot) => snapshot.payload(chunk.offset, &chunk.data, spans),
            // Its beginning is not in the recording: all of it may be payload.
            None => spans.push(chunk.data.clone()),
        }
    }
}

impl Snapshot {
    /// A snapshot that begins with these bytes; `None` if none of ours does.
    fn begin(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        if rest.first() != Some(&STATE_TAG) {
            return None;
        }
        rest.advance(1);
        let length = varint::take(&mut rest)?;
        let state_end = (bytes.len() - rest.len()) as u64 + length;
        Some(Self { state_end, part: Part::Tag })
    }

    /// Which bytes of this piece are payload.
    fn payload(&mut self, offset: u64, piece: &Bytes, spans: &mut Vec<Bytes>) {
        let skipped = usize::try_from(self.state_end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let Some(mut rest) = piece.get(skipped..) else { return };
        while let Some(&byte) = rest.first().filter(|_| self.part != Part::Payload) {
            self.part = match self.part {
                Part::Tag if byte == USER_TAG => Part::Length,
                Part::Length if byte & 0x80 != 0 => Part::Length,
                _ => Part::Payload,
            };
            rest.advance(1);
        }
        if !rest.is_empty() {
            spans.push(piece.slice(piece.len() - rest.len()..));
        }
    }
}

/// The payloads of an entry of the log.
fn of_entry(entry: &RaftEntry) -> Vec<Bytes> {
    let operations = Command::decode(entry.data.clone()).map(|command| command.operations).unwrap_or_default();
    let user = |op| match op {
        Op::User(user) => Some(user.bytes),
        _ => None,
    };
    operations.into_iter().filter_map(|operation| operation.op.and_then(user)).collect()
}

/// `whole` with other bytes in these parts of it; `None` if there is nothing to replace.
fn replaced(whole: &Bytes, spans: &[Bytes]) -> Option<Bytes> {
    if spans.iter().all(Bytes::is_empty) {
        return None;
    }
    let mut out = whole.to_vec();
    for span in spans.iter().filter(|span| !span.is_empty()) {
        // A decoded field is a slice of what it was decoded from.
        let at = (span.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        let place = at.checked_add(span.len()).and_then(|end| out.get_mut(at..end));
        place.expect("a payload is a part of its message").copy_from_slice(&filler(span));
    }
    Some(out.into())
}

/// Bytes of the same length, drawn from the payload's hash.
fn filler(payload: &[u8]) -> Vec<u8> {
    let mut hasher = SipHasher13::new();
    hasher.write(payload);
    let digest = hasher.finish();
    let mut out = Vec::with_capacity(payload.len() + 8);
    for block in 0.. {
        if out.len() >= payload.len() {
            break;
        }
        out.extend(SipHasher13::new_with_keys(digest, block).finish().to_le_bytes());
    }
    out.truncate(payload.len());
    out
}

#[cfg(test)]
mod tests {
    use funk_proto::wire::cluster::{Operation, UserEntry};
    use funk_proto::wire::raft::{RaftKind, SnapshotChunk, SnapshotMeta};

    use super::*;

    const SECRET: &[u8] = b"the application's secret";

    fn holds_secret(bytes: &[u8]) -> bool {
        bytes.windows(6).any(|part| SECRET.windows(6).any(|secret| secret == part))
    }

    fn user() -> UserEntry {
        UserEntry { id: 1, boot: 2, request: 3, bytes: Bytes::from_static(SECRET), barrier: false }
    }

    fn message(body: FrameBody) -> Entry {
        let bytes = Frame::bytes(body);
        assert!(holds_secret(&bytes));
        Entry::Input(Input::Message { conn: ConnId::dialled(1), channel: StreamKind::Cluster, bytes })
    }

    fn bytes_of(entry: &Entry) -> Bytes {
        let Entry::Input(Input::Message { bytes, .. }) = entry else { panic!("a message stays one: {entry:?}") };
        bytes.clone()
    }

    #[test]
    fn proposals_entries_and_states_are_gone_and_all_else_stays() {
        let command = Command { operations: vec![Operation { op: Some(Op::User(user())) }] };
        let entry = RaftEntry { kind: 0, term: 3, index: 8, data: command.encode_to_vec().into() };
        let append = RaftMessage { kind: RaftKind::Append.into(), term: 3, entries: vec![entry], ..Default::default() };
        let carry =
            funk_proto::wire::cluster::Carry { bytes: Bytes::from_static(SECRET), total: 24, ..Default::default() };
        for body in [FrameBody::Raft(append), FrameBody::Propose(user()), FrameBody::Carry(carry)] {
            let before = message(body);
            let after = Redactor::default().entry(&before).expect("it has a payload");
            let (before, after) = (bytes_of(&before), bytes_of(&after));
            assert!(!holds_secret(&after) && before.len() == after.len());
            let body = Frame::parse(&after).expect("it is still a frame");
            if let FrameBody::Raft(message) = body {
                assert_eq!((message.term, message.entries[0].index), (3, 8));
            }
        }
        let request = Redactor::default().entry(&Entry::Request(Request::Propose(Bytes::from_static(SECRET))));
        assert!(
            matches!(request, Some(Entry::Request(Request::Propose(bytes))) if bytes.len() == SECRET.len() && !holds_secret(&bytes))
        );
    }

    #[test]
    fn the_applications_part_of_a_snapshot_is_gone_wherever_it_is_cut() {
        let state = vec![7u8; 300];
        let mut whole = vec![STATE_TAG, 0xac, 0x02];
        whole.extend(&state);
        whole.extend([USER_TAG, u8::try_from(SECRET.len()).expect("short")]);
        whole.extend(SECRET);
        for cut in [1, 2, 100, 303, 304, 305, 310, whole.len() - 1] {
            let mut redactor = Redactor::default();
            let mut read = Vec::new();
            for (offset, piece) in [(0, &whole[..cut]), (cut, &whole[cut..])] {
                let data = Bytes::copy_from_slice(piece);
                let chunk =
                    SnapshotChunk { meta: Some(SnapshotMeta::default()), offset: offset as u64, data, last: false };
                let snapshot =
                    RaftMessage { kind: RaftKind::Snapshot.into(), snapshot: Some(chunk), ..Default::default() };
                let bytes = Frame::bytes(FrameBody::Raft(snapshot));
                let entry =
                    Entry::Input(Input::Message { conn: ConnId::dialled(1), channel: StreamKind::Cluster, bytes });
                let entry = redactor.entry(&entry).unwrap_or(entry);
                let Ok(FrameBody::Raft(message)) = Frame::parse(&bytes_of(&entry)) else { panic!("still a snapshot") };
                read.extend_from_slice(&message.snapshot.expect("a piece").data);
            }
            assert!(!holds_secret(&read) && read.len() == whole.len(), "cut at {cut}");
            if cut >= 3 {
                assert_eq!(read[..305], whole[..305], "cut at {cut}");
            }
        }
    }

    #[test]
    fn what_the_store_held_keeps_its_form() {
        let command = Command { operations: vec![Operation { op: Some(Op::User(user())) }] };
        let entry = RaftEntry { kind: 0, term: 3, index: 8, data: command.encode_to_vec().into() };
        let record = RaftRecord { term: 3, entries: vec![entry], node: 5, ..Default::default() };
        let bytes = Bytes::from(record.encode_to_vec());
        let stored = Redactor::default().stored(&bytes);
        assert!(holds_secret(&bytes) && !holds_secret(&stored));
        let read = RaftRecord::decode(stored).expect("still a record");
        assert_eq!((read.term, read.node, read.entries[0].index), (3, 5, 8));
    }
}
