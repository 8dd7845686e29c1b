//! One record of a recording as bytes. Kinds are part of the format: never reuse one.
//!
//! | kind | what | fields |
//! |---|---|---|
//! | 0 | timeout | |
//! | 1 | datagram | socket, address, bytes |
//! | 2 | message | stream, what it carries, bytes |
//! | 3 | stream ended | stream, why |
//! | 4 | unreachable | address |
//! | 5 | stable | token |
//! | 6 | snapshot taken | index, bytes |
//! | 7 | drained | change, shards |
//! | 8 | state given | change, shard, whether there is one, bytes |
//! | 9 | clock gap | nanoseconds |
//! | 10 | stream with a certificate opened | stream, cluster, node, 32 bytes that both ends know, address |
//! | 16–27 | requests | in the order of [`Request`] |
//! | 32 | outputs | how many were taken since the last such record, their hash |
//! | 33 | applied | index, the hash of what was applied up to it |
//! | 34 | check | [`Facts`] |

use bytes::{BufMut, Bytes};
use funk_proto::id::{ConnId, LogIndex, ShardId};
use funk_proto::wire::varint;
use funk_proto::{CloseReason, DatagramSocket, Input, PeerIdentity, Request, StreamKind, Timestamp, Token};

use crate::digest::Facts;
use crate::fields::{Fields, put_address, put_bytes, put_length, put_list};

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// The node was handed this.
    Input(Input),
    /// The application asked for this.
    Request(Request),
    /// So many outputs were taken since the last such record, with this hash.
    Outputs {
        /// How many.
        count: u64,
        /// Their hash.
        digest: u32,
    },
    /// An entry of the log was applied.
    Applied {
        /// Its index.
        index: LogIndex,
        /// The hash of all that was applied up to it.
        hash: u64,
    },
    /// What is compared, before the next input.
    Check(Facts),
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its number in the recording, from 0.
    pub number: u64,
    /// The node's time.
    pub at: Timestamp,
    /// Where it is in the file.
    pub offset: usize,
    /// What it says.
    pub entry: Entry,
}

/// Closing reasons by number.
const REASONS: [CloseReason; 7] = [
    CloseReason::Ended,
    CloseReason::Reset,
    CloseReason::Refused,
    CloseReason::TimedOut,
    CloseReason::Malformed,
    CloseReason::Overflow,
    CloseReason::Failed,
];

fn put_socket(out: &mut Vec<u8>, socket: DatagramSocket) {
    out.put_u8(u8::from(socket == DatagramSocket::Gossip));
}

fn put_channel(out: &mut Vec<u8>, channel: StreamKind) {
    out.put_u8(u8::from(channel == StreamKind::Gossip));
}

/// The kind and what comes after the time.
pub(crate) fn put_input(out: &mut Vec<u8>, input: &Input, put_time: impl FnOnce(&mut Vec<u8>)) {
    out.put_u8(kind_of(input));
    put_time(out);
    match input {
        Input::Timeout => {}
        Input::Datagram { socket, from, bytes } => {
            put_socket(out, *socket);
            put_address(out, *from);
            out.put_slice(bytes);
        }
        Input::Message { conn, channel, bytes } => {
            varint::put(out, conn.raw());
            put_channel(out, *channel);
            out.put_slice(bytes);
        }
        Input::Closed { conn, why } => {
            varint::put(out, conn.raw());
            let reason = REASONS.iter().position(|reason| reason == why).unwrap_or(REASONS.len() - 1);
            out.put_u8(u8::try_from(reason).expect("there are few reasons"));
        }
        Input::Unreachable { to } => put_address(out, *to),
        Input::Persisted(token) => varint::put(out, token.0),
        Input::SnapshotTaken { index, state } => {
            varint::put(out, index.0);
            out.put_slice(state);
        }
        Input::Drained { change, shards } => {
            varint::put(out, change.0);
            put_list(out, shards.iter(), |out, shard| varint::put(out, shard.0.into()));
        }
        Input::StateGiven { change, shard, state } => {
            varint::put(out, change.0);
            varint::put(out, shard.0.into());
            out.put_u8(u8::from(state.is_some()));
            out.put_slice(state.as_deref().unwrap_or_default());
        }
        Input::ClockGap { gap } => put_length(out, *gap),
        Input::Opened { conn, peer } => {
            varint::put(out, conn.raw());
            put_bytes(out, peer.cluster.as_str().as_bytes());
            put_bytes(out, peer.name.as_str().as_bytes());
            out.put_slice(&peer.exporter);
            put_address(out, peer.address);
        }
    }
}

fn kind_of(input: &Input) -> u8 {
    match input {
        Input::Timeout => 0,
        Input::Datagram { .. } => 1,
        Input::Message { .. } => 2,
        Input::Closed { .. } => 3,
        Input::Unreachable { .. } => 4,
        Input::Persisted(_) => 5,
        Input::SnapshotTaken { .. } => 6,
        Input::Drained { .. } => 7,
        Input::StateGiven { .. } => 8,
        Input::ClockGap { .. } => 9,
        Input::Opened { .. } => 10,
    }
}

/// The kind and fields of a request; `None` for one that this format has no number for.
pub(crate) fn put_request(out: &mut Vec<u8>, request: &Request, put_time: impl FnOnce(&mut Vec<u8>)) -> Option<()> {
    let kind = match request {
        Request::Propose(_) => 16,
        Request::Barrier => 17,
        Request::Join(_) => 18,
        Request::Leave => 19,
        Request::SetEndpoint { .. } => 20,
        Request::StepDown => 21,
        Request::AddMember(_) => 22,
        Request::RemoveMember(_) => 23,
        Request::Drain(_) => 24,
        Request::Pin { .. } => 25,
        Request::SetWeight(..) => 26,
        Request::Recover => 27,
        _ => return None,
    };
    out.put_u8(kind);
    put_time(out);
    match request {
        Request::Propose(bytes) => out.put_slice(bytes),
        Request::Join(addresses) => put_list(out, addresses.iter(), |out, address| put_address(out, *address)),
        Request::SetEndpoint { name, address } => {
            put_bytes(out, name.as_bytes());
            put_list(out, address.iter(), |out, address| put_address(out, *address));
        }
        Request::AddMember(name) | Request::RemoveMember(name) | Request::Drain(name) => {
            put_bytes(out, name.as_str().as_bytes());
        }
        Request::Pin { shards, node } => {
            varint::put(out, shards.start.into());
            varint::put(out, shards.end.into());
            put_list(out, node.iter(), |out, node| put_bytes(out, node.as_str().as_bytes()));
        }
        Request::SetWeight(name, weight) => {
            put_bytes(out, name.as_str().as_bytes());
            varint::put(out, (*weight).into());
        }
        _ => {}
    }
    Some(())
}

pub(crate) fn put_outputs(out: &mut Vec<u8>, count: u64, digest: u32, put_time: impl FnOnce(&mut Vec<u8>)) {
    out.put_u8(32);
    put_time(out);
    varint::put(out, count);
    out.put_u32_le(digest);
}

pub(crate) fn put_applied(out: &mut Vec<u8>, index: LogIndex, hash: u64, put_time: impl FnOnce(&mut Vec<u8>)) {
    out.put_u8(33);
    put_time(out);
    varint::put(out, index.0);
    out.put_u64_le(hash);
}

pub(crate) fn put_check(out: &mut Vec<u8>, facts: &Facts, put_time: impl FnOnce(&mut Vec<u8>)) {
    out.put_u8(34);
    put_time(out);
    facts.put(out);
}

/// Time as a difference that may be negative: a timer is fired with the time at which a pass began.
pub(crate) fn put_time(out: &mut Vec<u8>, before: Timestamp, now: Timestamp) {
    let (before, now) = (before.as_nanos(), now.as_nanos());
    let (length, back) = if now >= before { (now - before, 0) } else { (before - now, 1) };
    varint::put(out, length << 1 | back);
}

fn take_time(fields: &mut Fields, before: Timestamp) -> Option<Timestamp> {
    let zigzag = fields.number()?;
    let (length, before) = (zigzag >> 1, before.as_nanos());
    let now = if zigzag & 1 == 0 { before.checked_add(length) } else { before.checked_sub(length) };
    now.map(Timestamp::from_nanos)
}

impl Entry {
    /// Reads a body; `None` if it is none of this format.
    pub(crate) fn parse(body: Bytes, before: Timestamp) -> Option<(Timestamp, Entry)> {
        let mut fields = Fields(body);
        let kind = fields.byte()?;
        let at = take_time(&mut fields, before)?;
        let entry = match kind {
            0..16 => Entry::Input(take_input(kind, &mut fields)?),
            16..32 => Entry::Request(take_request(kind, &mut fields)?),
            32 => Entry::Outputs { count: fields.number()?, digest: u32::from_le_bytes(fields.take()?) },
            33 => Entry::Applied { index: LogIndex(fields.number()?), hash: fields.word()? },
            34 => Entry::Check(Facts::take(&mut fields)?),
            _ => return None,
        };
        fields.is_empty().then_some((at, entry))
    }

    /// The body of an input or a request at this time, after a record at `before`.
    pub(crate) fn put(&self, out: &mut Vec<u8>, before: Timestamp, now: Timestamp) {
        let time = |out: &mut Vec<u8>| put_time(out, before, now);
        match self {
            Self::Input(input) => put_input(out, input, time),
            Self::Request(request) => drop(put_request(out, request, time)),
            Self::Outputs { count, digest } => put_outputs(out, *count, *digest, time),
            Self::Applied { index, hash } => put_applied(out, *index, *hash, time),
            Self::Check(facts) => put_check(out, facts, time),
        }
    }
}

fn take_input(kind: u8, fields: &mut Fields) -> Option<Input> {
    let gossip = |fields: &mut Fields| fields.flag();
    Some(match kind {
        0 => Input::Timeout,
        1 => {
            let socket = if gossip(fields)? { DatagramSocket::Gossip } else { DatagramSocket::Liveness };
            Input::Datagram { socket, from: fields.address()?, bytes: fields.rest() }
        }
        2 => {
            let conn = ConnId::from_raw(fields.number()?);
            let channel = if gossip(fields)? { StreamKind::Gossip } else { StreamKind::Cluster };
            Input::Message { conn, channel, bytes: fields.rest() }
        }
        3 => {
            let conn = ConnId::from_raw(fields.number()?);
            Input::Closed { conn, why: *REASONS.get(usize::from(fields.byte()?))? }
        }
        4 => Input::Unreachable { to: fields.address()? },
        5 => Input::Persisted(Token(fields.number()?)),
        6 => Input::SnapshotTaken { index: LogIndex(fields.number()?), state: fields.rest() },
        7 => {
            let change = LogIndex(fields.number()?);
            Input::Drained { change, shards: fields.list(|fields| fields.small().map(ShardId))? }
        }
        8 => {
            let (change, shard) = (LogIndex(fields.number()?), ShardId(fields.small()?));
            let (some, bytes) = (fields.flag()?, fields.rest());
            Input::StateGiven { change, shard, state: some.then_some(bytes) }
        }
        9 => Input::ClockGap { gap: fields.length()? },
        10 => {
            let conn = ConnId::from_raw(fields.number()?);
            let (cluster, name) = (fields.text()?.parse().ok()?, fields.text()?.parse().ok()?);
            let (exporter, address) = (fields.take()?, fields.address()?);
            Input::Opened { conn, peer: PeerIdentity { cluster, name, exporter, address } }
        }
        _ => return None,
    })
}

fn take_request(kind: u8, fields: &mut Fields) -> Option<Request> {
    let name = |fields: &mut Fields| fields.text()?.parse().ok();
    Some(match kind {
        16 => Request::Propose(fields.rest()),
        17 => Request::Barrier,
        18 => Request::Join(fields.list(Fields::address)?),
        19 => Request::Leave,
        20 => Request::SetEndpoint { name: fields.text()?, address: fields.list(Fields::address)?.pop() },
        21 => Request::StepDown,
        22 => Request::AddMember(name(fields)?),
        23 => Request::RemoveMember(name(fields)?),
        24 => Request::Drain(name(fields)?),
        25 => Request::Pin { shards: fields.small()?..fields.small()?, node: fields.list(name)?.pop() },
        26 => Request::SetWeight(name(fields)?, fields.small()?),
        27 => Request::Recover,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn inputs() -> Vec<Input> {
        let (conn, bytes) = (ConnId::accepted(300), Bytes::from_static(b"abc"));
        let address = "10.0.0.1:7".parse().expect("an address");
        let (cluster, name) = ("c".parse().expect("a name"), "n1".parse().expect("a name"));
        let identity = PeerIdentity { cluster, name, exporter: [7; 32], address };
        vec![
            Input::Timeout,
            Input::Datagram { socket: DatagramSocket::Gossip, from: address, bytes: bytes.clone() },
            Input::Message { conn, channel: StreamKind::Cluster, bytes: bytes.clone() },
            Input::Closed { conn, why: CloseReason::Overflow },
            Input::Unreachable { to: address },
            Input::Persisted(Token(9)),
            Input::SnapshotTaken { index: LogIndex(1 << 40), state: bytes.clone() },
            Input::Drained { change: LogIndex(8), shards: vec![ShardId(1), ShardId(900)] },
            Input::StateGiven { change: LogIndex(8), shard: ShardId(3), state: Some(Bytes::new()) },
            Input::StateGiven { change: LogIndex(8), shard: ShardId(3), state: None },
            Input::ClockGap { gap: Duration::from_millis(77) },
            Input::Opened { conn, peer: identity },
        ]
    }

    fn requests() -> Vec<Request> {
        let name = || "n1".parse().expect("a name");
        vec![
            Request::Propose(Bytes::from_static(b"x")),
            Request::Barrier,
            Request::Join(vec!["10.0.0.1:7".parse().expect("an address")]),
            Request::Leave,
            Request::SetEndpoint { name: "ep.a".into(), address: None },
            Request::SetEndpoint { name: "ep.a".into(), address: Some(([1, 2, 3, 4], 5).into()) },
            Request::StepDown,
            Request::AddMember(name()),
            Request::RemoveMember(name()),
            Request::Drain(name()),
            Request::Pin { shards: 3..70, node: Some(name()) },
            Request::Pin { shards: 3..70, node: None },
            Request::SetWeight(name(), 5),
            Request::Recover,
        ]
    }

    #[test]
    fn every_input_and_every_request_survives_at_any_time() {
        let entries = inputs().into_iter().map(Entry::Input).chain(requests().into_iter().map(Entry::Request));
        let marks = [
            Entry::Outputs { count: 3, digest: u32::MAX },
            Entry::Applied { index: LogIndex(4), hash: 5 },
            Entry::Check(Facts { term: 3, lease_until: 1 << 50, ..Facts::default() }),
        ];
        for entry in entries.chain(marks) {
            for (before, now) in
                [(0, 7), (9, 9), (1 << 40, 3)].map(|(a, b)| (Timestamp::from_nanos(a), Timestamp::from_nanos(b)))
            {
                let mut body = Vec::new();
                entry.put(&mut body, before, now);
                assert_eq!(Entry::parse(body.into(), before), Some((now, entry.clone())), "{entry:?}");
            }
        }
    }

    #[test]
    fn a_body_that_is_cut_short_or_of_an_unknown_kind_is_none() {
        for entry in inputs()
            .into_iter()
            .skip(3)
            .map(Entry::Input)
            .filter(|entry| !matches!(entry, Entry::Input(Input::SnapshotTaken { .. } | Input::StateGiven { .. })))
        {
            let mut body = Vec::new();
            entry.put(&mut body, Timestamp::ZERO, Timestamp::ZERO);
            assert_eq!(Entry::parse(Bytes::from(body[..body.len() - 1].to_vec()), Timestamp::ZERO), None, "{entry:?}");
        }
        assert_eq!(Entry::parse(Bytes::from_static(&[200, 0]), Timestamp::ZERO), None);
    }
}
