//! The push/pull: all that one side knows of the members, then the same back.

use bytes::{BufMut, Bytes, BytesMut};

use super::msgpack::{Reader, put_boolean, put_integer, put_map, put_raw};
use super::node_record::NodeRecord;
use super::{BadMessage, PUSH_PULL};
use crate::limits::GOSSIP_MEMBERS_MAX;

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
    pub fn decode(message: &[u8]) -> Result<Self, BadMessage> {
        let Some((&PUSH_PULL, body)) = message.split_first() else { return Err(BadMessage::Malformed("a push/pull")) };
        let mut reader = Reader::new(body);
        let header = Header::read(&mut reader)?;
        let mut nodes = Vec::new();
        for _ in 0..header.nodes {
            if nodes.len() < GOSSIP_MEMBERS_MAX {
                nodes.push(NodeRecord::decode(&mut reader)?);
            } else {
                reader.skip("a node record")?;
            }
        }
        let state = usize::try_from(header.user_state_bytes).ok().and_then(|length| reader.rest().get(..length));
        let state = state.ok_or(BadMessage::Malformed("a push/pull's state"))?;
        Ok(Self { join: header.join, nodes, user_state: Bytes::copy_from_slice(state) })
    }

    /// Writes it as a stream message.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(PUSH_PULL);
        put_map(&mut out, 3);
        put_raw(&mut out, b"Join");
        put_boolean(&mut out, self.join);
        put_raw(&mut out, b"Nodes");
        put_integer(&mut out, self.nodes.len() as u64);
        put_raw(&mut out, b"UserStateLen");
        put_integer(&mut out, self.user_state.len() as u64);
        for node in &self.nodes {
            node.encode(&mut out);
        }
        out.put_slice(&self.user_state);
        out.freeze()
    }
}
