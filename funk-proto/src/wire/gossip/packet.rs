//! The messages of a datagram: probes, what is said of a node's life, and
//! Serf's own messages. A stream's ping and ack have the same bytes.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};

use super::msgpack::{Reader, put_boolean, put_integer, put_map, put_raw, put_slice};
use super::node_record::{VERSIONS, octets, sane_versions, socket_address};
use super::{ACK, ALIVE, BadMessage, DEAD, INDIRECT_PING, NACK, PING, SUSPECT, USER};
use crate::limits::{GOSSIP_NAME_BYTES_MAX, TAG_BYTES_MAX};

/// One message of a datagram. Names are bytes: nothing promises UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Answer if you live.
    Ping {
        /// Comes back in the ack.
        sequence: u32,
        /// Who is meant; empty: whoever gets it.
        node: Bytes,
        /// Where the ack goes; `None`: where the datagram came from.
        source: Option<SocketAddr>,
        /// Who asks; empty from old agents.
        source_node: Bytes,
    },
    /// Ping another for me.
    IndirectPing {
        /// Comes back in the ack or nack.
        sequence: u32,
        /// Who is to be pinged; port 0 from agents too old to say it.
        target: SocketAddr,
        /// Its name.
        node: Bytes,
        /// Whether the asker wants to be told of silence.
        nack: bool,
        /// Where the ack goes; `None`: where the datagram came from.
        source: Option<SocketAddr>,
        /// Who asks; empty from old agents.
        source_node: Bytes,
    },
    /// The answer to a ping.
    Ack {
        /// The ping's.
        sequence: u32,
        /// A [`Coordinate`](super::Coordinate), or empty.
        payload: Bytes,
    },
    /// The target of an indirect ping is silent.
    Nack {
        /// The indirect ping's.
        sequence: u32,
    },
    /// A node does not answer.
    Suspect(Accusation),
    /// A node lives, and this is how it presents itself.
    Alive(Alive),
    /// A node is dead; said by itself, it left.
    Dead(Accusation),
    /// A message of Serf's own, see [`SerfMessage`](super::SerfMessage).
    User(Bytes),
}

/// What one node says of another's death.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accusation {
    /// The incarnation that is meant: a newer one is not touched.
    pub incarnation: u32,
    /// Who is accused.
    pub node: Bytes,
    /// Who accuses.
    pub from: Bytes,
}

/// How a node presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alive {
    /// Grows with every change and every refutation.
    pub incarnation: u32,
    /// Its name.
    pub node: Bytes,
    /// Where it is reached; port 0 from agents too old to say it.
    pub addr: SocketAddr,
    /// Its tags, encoded: at most [`TAG_BYTES_MAX`].
    pub meta: Bytes,
    /// Its protocol versions; those of a node that shows none are filled in.
    pub versions: [u8; 6],
}

impl Packet {
    /// Writes the message as an agent does, byte for byte.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Ping { sequence, node, source, source_node } => {
                out.put_u8(PING);
                put_map(&mut out, 2 + source_fields(*source, source_node));
                put_field(&mut out, "Node", node);
                put_number(&mut out, "SeqNo", *sequence);
                put_source(&mut out, *source, source_node);
            }
            Self::IndirectPing { sequence, target, node, nack, source, source_node } => {
                out.put_u8(INDIRECT_PING);
                put_map(&mut out, 5 + source_fields(*source, source_node));
                put_raw(&mut out, b"Nack");
                put_boolean(&mut out, *nack);
                put_field(&mut out, "Node", node);
                put_number(&mut out, "Port", target.port().into());
                put_number(&mut out, "SeqNo", *sequence);
                put_source(&mut out, *source, source_node);
                put_field(&mut out, "Target", &octets(target.ip()));
            }
            Self::Ack { sequence, payload } => {
                out.put_u8(ACK);
                put_map(&mut out, 2);
                put_raw(&mut out, b"Payload");
                put_slice(&mut out, payload);
                put_number(&mut out, "SeqNo", *sequence);
            }
            Self::Nack { sequence } => {
                out.put_u8(NACK);
                put_map(&mut out, 1);
                put_number(&mut out, "SeqNo", *sequence);
            }
            Self::Suspect(accusation) => accusation.encode(SUSPECT, &mut out),
            Self::Alive(alive) => alive.encode(&mut out),
            Self::Dead(accusation) => accusation.encode(DEAD, &mut out),
            Self::User(message) => {
                out.put_u8(USER);
                out.put_slice(message);
            }
        }
        out.freeze()
    }

    /// Reads one bare message: no compound, nothing compressed, no checksum.
    pub fn decode(message: &[u8]) -> Result<Self, BadMessage> {
        let (&kind, body) = message.split_first().ok_or(BadMessage::Malformed("an empty gossip message"))?;
        match kind {
            PING => ping(body),
            INDIRECT_PING => indirect_ping(body),
            ACK => {
                let (mut sequence, mut payload) = (0, Bytes::new());
                Reader::new(body).structure("an ack", &["SeqNo", "Payload"], |position, reader| {
                    match position {
                        0 => sequence = reader.integer("an ack's number")?,
                        _ => payload = reader.owned_bytes("an ack's payload")?,
                    }
                    Ok(())
                })?;
                Ok(Self::Ack { sequence, payload })
            }
            NACK => {
                let mut sequence = 0;
                Reader::new(body).structure("a nack", &["SeqNo"], |_, reader| {
                    sequence = reader.integer("a nack's number")?;
                    Ok(())
                })?;
                Ok(Self::Nack { sequence })
            }
            SUSPECT => Accusation::decode(body).map(Self::Suspect),
            ALIVE => Alive::decode(body).map(Self::Alive),
            DEAD => Accusation::decode(body).map(Self::Dead),
            USER if body.is_empty() => Err(BadMessage::Malformed("an empty Serf message")),
            USER => Ok(Self::User(Bytes::copy_from_slice(body))),
            other => Err(BadMessage::Type(other)),
        }
    }
}

fn ping(body: &[u8]) -> Result<Packet, BadMessage> {
    let (mut sequence, mut node, mut source) = (0, Bytes::new(), Source::default());
    let fields = ["SeqNo", "Node", "SourceAddr", "SourcePort", "SourceNode"];
    Reader::new(body).structure("a ping", &fields, |position, reader| {
        match position {
            0 => sequence = reader.integer("a ping's number")?,
            1 => node = name(reader)?,
            other => source.field(other - 2, reader)?,
        }
        Ok(())
    })?;
    Ok(Packet::Ping { sequence, node, source: source.address()?, source_node: source.node })
}

fn indirect_ping(body: &[u8]) -> Result<Packet, BadMessage> {
    let (mut sequence, mut target, mut port, mut node, mut nack) = (0, Bytes::new(), 0, Bytes::new(), false);
    let mut source = Source::default();
    let fields = ["SeqNo", "Target", "Port", "Node", "Nack", "SourceAddr", "SourcePort", "SourceNode"];
    Reader::new(body).structure("an indirect ping", &fields, |position, reader| {
        match position {
            0 => sequence = reader.integer("an indirect ping's number")?,
            1 => target = reader.owned_bytes("an indirect ping's target")?,
            2 => port = reader.integer("an indirect ping's port")?,
            3 => node = name(reader)?,
            4 => nack = reader.boolean("an indirect ping's wish")?,
            other => source.field(other - 5, reader)?,
        }
        Ok(())
    })?;
    let target = socket_address(&target, port).ok_or(BadMessage::Malformed("an indirect ping's target"))?;
    Ok(Packet::IndirectPing { sequence, target, node, nack, source: source.address()?, source_node: source.node })
}

/// Who asks, in a ping and an indirect ping.
#[derive(Default)]
struct Source {
    octets: Bytes,
    port: u16,
    node: Bytes,
}

impl Source {
    fn field(&mut self, position: usize, reader: &mut Reader<'_>) -> Result<(), BadMessage> {
        match position {
            0 => self.octets = reader.owned_bytes("a ping's source")?,
            1 => self.port = reader.integer("a ping's source port")?,
            _ => self.node = name(reader)?,
        }
        Ok(())
    }

    /// An ack is sent there only if both address and port are given; an
    /// address that is none makes the ping one that nobody answers.
    fn address(&self) -> Result<Option<SocketAddr>, BadMessage> {
        if self.octets.is_empty() || self.port == 0 {
            return Ok(None);
        }
        socket_address(&self.octets, self.port).ok_or(BadMessage::Malformed("a ping's source")).map(Some)
    }
}

fn source_fields(source: Option<SocketAddr>, node: &Bytes) -> usize {
    if source.is_some() { 2 + usize::from(!node.is_empty()) } else { usize::from(!node.is_empty()) }
}

fn put_source(out: &mut BytesMut, source: Option<SocketAddr>, node: &Bytes) {
    if let Some(source) = source {
        put_field(out, "SourceAddr", &octets(source.ip()));
    }
    if !node.is_empty() {
        put_field(out, "SourceNode", node);
    }
    if let Some(source) = source {
        put_number(out, "SourcePort", source.port().into());
    }
}

impl Accusation {
    fn encode(&self, kind: u8, out: &mut BytesMut) {
        out.put_u8(kind);
        put_map(out, 3);
        put_field(out, "From", &self.from);
        put_number(out, "Incarnation", self.incarnation);
        put_field(out, "Node", &self.node);
    }

    fn decode(body: &[u8]) -> Result<Self, BadMessage> {
        let (mut incarnation, mut node, mut from) = (0, Bytes::new(), Bytes::new());
        Reader::new(body).structure("an accusation", &["Incarnation", "Node", "From"], |position, reader| {
            match position {
                0 => incarnation = reader.integer("an accusation's incarnation")?,
                1 => node = name(reader)?,
                _ => from = name(reader)?,
            }
            Ok(())
        })?;
        Ok(Self { incarnation, node, from })
    }
}

impl Alive {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(ALIVE);
        put_map(out, 6);
        put_field(out, "Addr", &octets(self.addr.ip()));
        put_number(out, "Incarnation", self.incarnation);
        put_raw(out, b"Meta");
        put_slice(out, &self.meta);
        put_field(out, "Node", &self.node);
        put_number(out, "Port", self.addr.port().into());
        put_field(out, "Vsn", &self.versions);
    }

    /// Refuses what kills agents when it is passed on: version bytes that are
    /// too few, or that no agent accepts beside its own.
    fn decode(body: &[u8]) -> Result<Self, BadMessage> {
        let (mut incarnation, mut node, mut port) = (0, Bytes::new(), 0);
        let (mut addr, mut meta, mut vsn) = (Bytes::new(), Bytes::new(), Bytes::new());
        let fields = ["Incarnation", "Node", "Addr", "Port", "Meta", "Vsn"];
        Reader::new(body).structure("an alive message", &fields, |position, reader| {
            match position {
                0 => incarnation = reader.integer("a node's incarnation")?,
                1 => node = name(reader)?,
                2 => addr = reader.owned_bytes("a node's address")?,
                3 => port = reader.integer("a node's port")?,
                4 => meta = reader.owned_bytes("a node's tags")?,
                _ => vsn = reader.owned_bytes("a node's versions")?,
            }
            Ok(())
        })?;
        if node.is_empty() {
            return Err(BadMessage::Malformed("a node's name"));
        }
        if meta.len() > TAG_BYTES_MAX {
            return Err(BadMessage::Oversized("a node's tags"));
        }
        let addr = socket_address(&addr, port).ok_or(BadMessage::Malformed("a node's address"))?;
        let versions = if vsn.is_empty() { Some(VERSIONS) } else { sane_versions(&vsn) };
        let versions = versions.ok_or(BadMessage::Malformed("a node's versions"))?;
        Ok(Self { incarnation, node, addr, meta, versions })
    }
}

/// A name of at most [`GOSSIP_NAME_BYTES_MAX`].
pub(super) fn name(reader: &mut Reader<'_>) -> Result<Bytes, BadMessage> {
    let name = reader.string("a node's name")?;
    if name.len() > GOSSIP_NAME_BYTES_MAX {
        return Err(BadMessage::Oversized("a node's name"));
    }
    Ok(Bytes::copy_from_slice(name))
}

/// Writes a field that holds a string, or bytes that are never nil.
pub(super) fn put_field(out: &mut BytesMut, field: &str, value: &[u8]) {
    put_raw(out, field.as_bytes());
    put_raw(out, value);
}

/// Writes a field that holds a small number.
pub(super) fn put_number(out: &mut BytesMut, field: &str, value: u32) {
    put_raw(out, field.as_bytes());
    put_integer(out, value.into());
}
