//! The push/pull: all that one side knows of the members, then the same back.

use bytes::{BufMut, Bytes, BytesMut};

use super::msgpack::{Reader, put_boolean, put_integer, put_map, put_raw};
use super::node_record::NodeRecord;
use super::serf_state::{SerfState, StateWriter};
use super::walk::Walk;
use super::{BadMessage, Budget, PUSH_PULL};
use crate::limits::{GOSSIP_MEMBERS_MAX, GOSSIP_RECORDS_MAX};

/// Bytes of one record: many times those of the longest name and tags. A longer one is dropped.
const RECORD_BYTES_MAX: usize = 8 << 10;
/// Units of work to decode a record, beside those for its bytes.
const RECORD_COST: u32 = 1;
/// Fields of the header in declaration order.
const FIELDS: [&str; 3] = ["Nodes", "UserStateLen", "Join"];

/// What stands in front of the records.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Header {
    pub join: bool,
    /// Node records that follow.
    pub nodes: u64,
    /// Raw bytes that follow the records.
    pub user_state_bytes: u64,
}

impl Header {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadMessage> {
        Self::read(&mut Reader::new(bytes))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, BadMessage> {
        let mut header = Self::default();
        reader.structure("a push/pull header", &FIELDS, |position, reader| {
            match position {
                0 => header.nodes = reader.integer("a push/pull's node count")?,
                1 => header.user_state_bytes = reader.integer("a push/pull's state length")?,
                _ => header.join = reader.boolean("a push/pull's join flag")?,
            }
            Ok(())
        })?;
        Ok(header)
    }
}

/// A push/pull, request or answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushPull {
    /// Whether the dialer joins; the answer echoes it.
    pub join: bool,
    /// Node records, at most [`GOSSIP_MEMBERS_MAX`]; the others are dropped.
    pub nodes: Vec<NodeRecord>,
    /// Serf's state, still encoded; empty if there is none.
    pub user_state: Bytes,
}

impl PushPull {
    /// Reads a whole, uncompressed stream message.
    ///
    /// # Errors
    /// A [`BadMessage`] says what does not decode, or which limit it is over.
    pub fn decode(message: &[u8]) -> Result<Self, BadMessage> {
        let mut reader = PushPullReader::new(Bytes::copy_from_slice(message));
        Ok(reader.step(&mut Budget::unlimited())?.expect("an unlimited budget is never spent"))
    }

    /// Writes it as a stream message.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        put_head(&mut out, self.join, self.nodes.len() as u64, self.user_state.len());
        for node in &self.nodes {
            node.encode(&mut out);
        }
        out.put_slice(&self.user_state);
        out.freeze()
    }
}

/// Reads a push/pull piece by piece.
#[derive(Debug)]
pub struct PushPullReader {
    walk: Walk,
    header: Option<Header>,
    /// Records that were walked over.
    passed: u64,
    nodes: Vec<NodeRecord>,
}

impl PushPullReader {
    /// Begins with a whole, uncompressed stream message.
    pub fn new(message: Bytes) -> Self {
        Self { walk: Walk::new(message), header: None, passed: 0, nodes: Vec::new() }
    }

    /// The push/pull; `None` if the budget was spent before its end.
    ///
    /// # Errors
    /// A [`BadMessage`] says what does not decode, or which limit it is over.
    pub fn step(&mut self, budget: &mut Budget) -> Result<Option<PushPull>, BadMessage> {
        let header = match self.header {
            Some(header) => header,
            None => *self.header.insert(self.walk.read(read_header)?),
        };
        while self.passed < header.nodes {
            let Some(record) = self.walk.value("a node record", budget)? else { return Ok(None) };
            self.passed += 1;
            if self.nodes.len() < GOSSIP_MEMBERS_MAX && record.len() <= RECORD_BYTES_MAX {
                budget.spend(RECORD_COST);
                self.nodes.push(NodeRecord::decode(&mut Reader::new(&record))?);
            }
        }
        let rest = self.walk.rest();
        let end = usize::try_from(header.user_state_bytes).ok().and_then(|length| rest.start.checked_add(length));
        let end = end.filter(|&end| end <= rest.end).ok_or(BadMessage::Malformed("a push/pull's state"))?;
        let user_state = self.walk.bytes().slice(rest.start..end);
        Ok(Some(PushPull { join: header.join, nodes: std::mem::take(&mut self.nodes), user_state }))
    }
}

fn read_header(reader: &mut Reader<'_>) -> Result<Header, BadMessage> {
    if reader.rest().first() != Some(&PUSH_PULL) {
        return Err(BadMessage::Malformed("a push/pull"));
    }
    // A small number is its own encoding.
    reader.integer::<u8>("a push/pull")?;
    let header = Header::read(reader)?;
    if header.nodes > GOSSIP_RECORDS_MAX {
        return Err(BadMessage::Oversized("a push/pull"));
    }
    Ok(header)
}

/// Writes a push/pull piece by piece, byte for byte as [`PushPull::encode`]
/// and [`SerfState::encode`](super::SerfState::encode) do.
#[derive(Debug, Default)]
pub struct PushPullWriter {
    join: bool,
    nodes: u64,
    records: BytesMut,
    state: StateWriter,
}

impl PushPullWriter {
    /// Begins one; `join` says whether the dialer joins.
    pub fn new(join: bool) -> Self {
        Self { join, ..Self::default() }
    }

    /// Adds a node's record.
    pub fn node(&mut self, node: &NodeRecord) {
        self.nodes += 1;
        node.encode(&mut self.records);
    }

    /// Serf's part of it.
    pub fn state(&mut self) -> &mut StateWriter {
        &mut self.state
    }

    /// The whole message, with the clocks of `ends` and its user events.
    pub fn finish(self, ends: &SerfState) -> Bytes {
        let user_state = self.state.finish(ends);
        let mut out = BytesMut::with_capacity(64 + self.records.len() + user_state.len());
        put_head(&mut out, self.join, self.nodes, user_state.len());
        out.put_slice(&self.records);
        out.put_slice(&user_state);
        out.freeze()
    }
}

fn put_head(out: &mut BytesMut, join: bool, nodes: u64, user_state_bytes: usize) {
    out.put_u8(PUSH_PULL);
    put_map(out, 3);
    put_raw(out, b"Join");
    put_boolean(out, join);
    put_raw(out, b"Nodes");
    put_integer(out, nodes);
    put_raw(out, b"UserStateLen");
    put_integer(out, user_state_bytes as u64);
}
