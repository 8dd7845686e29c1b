//! Serf's stream messages, byte for byte as its agents write them.
//!
//! A stream message is a type byte, then one or more MessagePack objects, then
//! for some types raw bytes; nothing says its length in front, so
//! [`StreamDecoder`] finds its end. Built here is what streams need: push/pull
//! with its node records and Serf state, compression (read only), ping, ack
//! and error. A datagram is one such message or several, see [`unpack`].
//! Either may be encrypted, see `seal.rs`.
//!
//! | file | idea |
//! |---|---|
//! | `budget`, `walk` | how a long message is read piece by piece |
//! | `msgpack` | the MessagePack dialect of Go's codec |
//! | `scan` | where a MessagePack object ends, found piece by piece |
//! | `stream` | where a stream message ends |
//! | `key`, `seal` | the keys of a pool, and encryption with them |
//! | `key_report` | what an operator asks of all keyrings, and what comes of it |
//! | `compress` | LZW, bounded |
//! | `node_record` | one node in a push/pull |
//! | `tags` | the tags in a node's Meta |
//! | `serf_state` | Serf's clocks and intents in a push/pull |
//! | `events` | the user events in a push/pull |
//! | `push_pull` | the whole push/pull |
//! | `probe` | ping, ack and error on a stream |
//! | `user` | the length of a user message |
//! | `packet` | the messages of a datagram |
//! | `datagram` | checksum, compression and compounds round them |
//! | `serf_message` | Serf's own messages: intents, events, answers |
//! | `query` | Serf's query and its filters |
//! | `coordinate` | the network coordinate in an ack |

mod budget;
mod compress;
mod coordinate;
mod datagram;
mod events;
pub(crate) mod key;
pub(crate) mod key_report;
mod msgpack;
mod node_record;
mod packet;
mod probe;
mod push_pull;
mod query;
mod scan;
mod seal;
mod serf_message;
mod serf_state;
mod stream;
mod tags;
mod user;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;

use crate::error::Misbehaviour;
use crate::status::GossipStatus;

pub use budget::Budget;
pub use compress::{Unpacker, decompress};
pub use coordinate::{COORDINATE_DIMENSIONS, Coordinate};
pub use datagram::{Compound, PART_OVERHEAD, Unpacked, looks_encrypted, unpack, with_crc};
pub use events::{EventsAt, EventsReader, encode_event, encode_events};
pub use key::{BadKey, GossipKey, GossipKeys, KeyChange, KeyId, KeyRefused, Keyring, NONCE_BYTES};
pub use key_report::{KeyAnswer, KeyOrder, KeyReport, KeyWish};
pub use node_record::{NodeRecord, NodeState, VERSIONS};
pub use packet::{Accusation, Alive, Packet};
pub use probe::{Ping, decode_error, encode_ack, encode_error};
pub use push_pull::{PushPull, PushPullReader, PushPullWriter};
pub use query::{Filter, Query};
pub use seal::{SEAL_BYTES, open, open_any, open_stream, seal, seal_stream};
pub use serf_message::{Holder, KeyResponse, QueryResponse, Relay, SerfMessage, UserEvent};
pub use serf_state::{SerfState, SerfStateReader, StateWriter};
pub use stream::StreamDecoder;
pub use tags::{decode_tags, encode_tags};

/// Type byte: ping.
pub const PING: u8 = 0;
/// Type byte: ping another.
pub const INDIRECT_PING: u8 = 1;
/// Type byte: the answer to a ping.
pub const ACK: u8 = 2;
/// Type byte: a node does not answer.
pub const SUSPECT: u8 = 3;
/// Type byte: a node lives.
pub const ALIVE: u8 = 4;
/// Type byte: a node is dead.
pub const DEAD: u8 = 5;
/// Type byte: push/pull.
pub const PUSH_PULL: u8 = 6;
/// Type byte: several messages in one.
pub const COMPOUND: u8 = 7;
/// Type byte: a message of Serf's own.
pub const USER: u8 = 8;
/// Type byte: another message, compressed.
pub const COMPRESS: u8 = 9;
/// Type byte of a stream: what follows is encrypted.
pub const ENCRYPTED: u8 = 10;
/// Type byte: the target of an indirect ping is silent.
pub const NACK: u8 = 11;
/// Type byte: another message, behind its checksum.
pub const CRC: u8 = 12;
/// Type byte: the other side could not read our stream.
pub const ERROR: u8 = 13;

/// Bytes that are no gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadMessage {
    /// They end too early, or hold a value of the wrong type or range.
    Malformed(&'static str),
    /// A limit is exceeded.
    Oversized(&'static str),
    /// A datagram's checksum does not fit its bytes.
    Checksum,
    /// A type byte that has no meaning here.
    Type(u8),
}

impl std::fmt::Display for BadMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "{what} does not decode"),
            Self::Oversized(what) => write!(f, "{what} is over its limit"),
            Self::Checksum => f.write_str("a datagram's checksum is wrong"),
            Self::Type(kind) => write!(f, "a gossip message of type {kind} is unknown"),
        }
    }
}

impl std::error::Error for BadMessage {}

impl From<BadMessage> for Misbehaviour {
    fn from(bad: BadMessage) -> Self {
        match bad {
            BadMessage::Malformed(what) => Self::Malformed(what),
            BadMessage::Oversized(what) => Self::Oversized(what),
            BadMessage::Checksum => Self::Malformed("a gossip datagram's checksum"),
            BadMessage::Type(_) => Self::Malformed("a gossip message's type"),
        }
    }
}

/// Bytes after which a stream cannot be followed any further: close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadStream(pub BadMessage);

impl std::fmt::Display for BadStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "gossip stream: {}", self.0)
    }
}

impl std::error::Error for BadStream {}

/// One member as gossip shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipMember {
    /// Its name; bytes that are no UTF-8 are replaced.
    pub name: String,
    /// Its advertised gossip address.
    pub addr: SocketAddr,
    /// Its status.
    pub status: GossipStatus,
    /// Its tags, `ep.*` and others.
    pub tags: BTreeMap<String, String>,
    /// Its incarnation: grows with every change of its tags and every refutation.
    pub incarnation: u32,
}

/// A push/pull that offers no nodes: the answer shows all members, and the
/// asker becomes none.
pub fn look_request() -> Bytes {
    let user_state = SerfState { member_time: 1, event_time: 1, query_time: 1, ..SerfState::default() }.encode();
    PushPull { join: false, nodes: Vec::new(), user_state }.encode()
}

/// The members in the answer to a [`look_request`]; records that cannot be used are left out.
pub fn parse_members(reply: &Bytes) -> Result<Vec<GossipMember>, BadMessage> {
    let answer = PushPull::decode(&decompress(reply)?)?;
    let left = if answer.user_state.is_empty() {
        BTreeSet::new()
    } else {
        SerfState::decode(&answer.user_state)?.left_members.into_iter().collect()
    };
    let member = |record: &NodeRecord| {
        let status = match record.state {
            _ if left.contains(&record.name) => GossipStatus::Left,
            NodeState::Alive | NodeState::Suspect => GossipStatus::Alive,
            NodeState::Dead => GossipStatus::Failed,
            NodeState::Left => GossipStatus::Left,
            NodeState::Unknown(_) => return None,
        };
        Some(GossipMember {
            name: String::from_utf8_lossy(&record.name).into_owned(),
            addr: record.address(DEFAULT_PORT)?,
            status,
            tags: decode_tags(&record.meta)?,
            incarnation: record.incarnation,
        })
    };
    Ok(answer.nodes.iter().filter_map(member).collect())
}

/// Serf's port, for records of agents too old to name theirs.
const DEFAULT_PORT: u16 = 7946;
