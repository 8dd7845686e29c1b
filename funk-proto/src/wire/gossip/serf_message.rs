//! Serf's own messages, which travel inside [`Packet::User`](super::Packet::User).
//! The one of a push/pull is [`SerfState`](super::SerfState).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};

use super::BadMessage;
use super::msgpack::{Reader, put_boolean, put_integer, put_list, put_map, put_nil, put_raw, put_signed, put_slice};
use super::node_record::{octets, socket_address};
use super::packet::{name, put_field, put_number};
use super::query::Query;

const LEAVE: u8 = 0;
const JOIN: u8 = 1;
const USER_EVENT: u8 = 3;
const QUERY: u8 = 4;
const QUERY_RESPONSE: u8 = 5;
const CONFLICT_RESPONSE: u8 = 6;
const KEY_REQUEST: u8 = 7;
const KEY_RESPONSE: u8 = 8;
const RELAY: u8 = 9;

/// A message of Serf's own. Names are bytes: nothing promises UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SerfMessage {
    /// A node is about to leave, or is to be counted as left.
    Leave {
        /// Lamport time of the member clock.
        time: u64,
        /// Who leaves.
        node: Bytes,
        /// Whether it is to be forgotten at once.
        prune: bool,
    },
    /// A node is here to stay.
    Join {
        /// Lamport time of the member clock.
        time: u64,
        /// Who joins.
        node: Bytes,
    },
    /// Something to be told to every node's application.
    UserEvent(UserEvent),
    /// A question to all nodes.
    Query(Query),
    /// An answer to a query.
    QueryResponse(QueryResponse),
    /// In an answer: who holds a contested name; `None` if nobody is known to.
    ConflictResponse(Option<Holder>),
    /// In a query: a key of the gossip encryption.
    KeyRequest {
        /// The key; empty where none is needed.
        key: Bytes,
    },
    /// In an answer: what came of a key request.
    KeyResponse(KeyResponse),
    /// To be passed on.
    Relay(Relay),
}

/// Something to be told to every node's application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEvent {
    /// Lamport time of the event clock.
    pub time: u64,
    /// Its name.
    pub name: Bytes,
    /// What it says.
    pub payload: Bytes,
    /// Whether only the latest of its name counts.
    pub coalesce: bool,
}

/// An answer to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryResponse {
    /// The query's.
    pub time: u64,
    /// The query's.
    pub id: u32,
    /// Who answers.
    pub from: Bytes,
    /// [`ACK`](Self::ACK) or nothing.
    pub flags: u32,
    /// The answer.
    pub payload: Bytes,
}

impl QueryResponse {
    /// Flag: only says that the query was received.
    pub const ACK: u32 = 1;
}

/// Who holds a contested name, as another node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The name.
    pub name: Bytes,
    /// Its address.
    pub addr: SocketAddr,
    /// Its tags.
    pub tags: BTreeMap<Bytes, Bytes>,
    /// Serf's number for its status: 1 is alive.
    pub status: i64,
    /// Its protocol versions, as in a node record.
    pub versions: [u8; 6],
}

/// What came of a key request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyResponse {
    /// Whether it was done.
    pub result: bool,
    /// Why not, or what else is to be said.
    pub message: Bytes,
    /// The keys, base64.
    pub keys: Vec<Bytes>,
    /// The primary one, base64.
    pub primary_key: Bytes,
}

/// A message to be passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// To where.
    pub dest: SocketAddr,
    /// To whom; empty from old agents.
    pub dest_name: Bytes,
    /// A whole message of Serf's own, still encoded.
    pub message: Bytes,
}

impl SerfMessage {
    /// Writes the message as an agent does, byte for byte.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Leave { time, node, prune } => {
                out.put_u8(LEAVE);
                put_map(&mut out, 3);
                put_time(&mut out, *time);
                put_field(&mut out, "Node", node);
                put_raw(&mut out, b"Prune");
                put_boolean(&mut out, *prune);
            }
            Self::Join { time, node } => {
                out.put_u8(JOIN);
                put_map(&mut out, 2);
                put_time(&mut out, *time);
                put_field(&mut out, "Node", node);
            }
            Self::UserEvent(event) => event.encode(&mut out),
            Self::Query(query) => {
                out.put_u8(QUERY);
                query.encode(&mut out);
            }
            Self::QueryResponse(response) => response.encode(&mut out),
            Self::ConflictResponse(holder) => {
                out.put_u8(CONFLICT_RESPONSE);
                match holder {
                    Some(holder) => holder.encode(&mut out),
                    None => put_nil(&mut out),
                }
            }
            Self::KeyRequest { key } => {
                out.put_u8(KEY_REQUEST);
                put_map(&mut out, 1);
                put_field(&mut out, "Key", key);
            }
            Self::KeyResponse(response) => response.encode(&mut out),
            Self::Relay(relay) => relay.encode(&mut out),
        }
        out.freeze()
    }

    /// Reads the bytes of a [`Packet::User`](super::Packet::User), or the
    /// payload of one of Serf's own queries and answers.
    pub fn decode(message: &[u8]) -> Result<Self, BadMessage> {
        let (&kind, body) = message.split_first().ok_or(BadMessage::Malformed("an empty Serf message"))?;
        match kind {
            LEAVE | JOIN => intent(kind, body),
            USER_EVENT => UserEvent::decode(body).map(Self::UserEvent),
            QUERY => Query::decode(body).map(Self::Query),
            QUERY_RESPONSE => QueryResponse::decode(body).map(Self::QueryResponse),
            CONFLICT_RESPONSE => Holder::decode(body).map(Self::ConflictResponse),
            KEY_REQUEST => {
                let mut key = Bytes::new();
                Reader::new(body).structure("a key request", &["Key"], |_, reader| {
                    key = reader.owned_bytes("a key")?;
                    Ok(())
                })?;
                Ok(Self::KeyRequest { key })
            }
            KEY_RESPONSE => KeyResponse::decode(body).map(Self::KeyResponse),
            RELAY => Relay::decode(body).map(Self::Relay),
            other => Err(BadMessage::Type(other)),
        }
    }
}

/// A leave has one field more than a join.
fn intent(kind: u8, body: &[u8]) -> Result<SerfMessage, BadMessage> {
    let (mut time, mut node, mut prune) = (0, Bytes::new(), false);
    let fields = ["LTime", "Node", "Prune"];
    let fields = if kind == LEAVE { &fields[..] } else { &fields[..2] };
    Reader::new(body).structure("an intent", fields, |position, reader| {
        match position {
            0 => time = reader.integer("an intent's time")?,
            1 => node = name(reader)?,
            _ => prune = reader.boolean("an intent's wish")?,
        }
        Ok(())
    })?;
    if node.is_empty() {
        return Err(BadMessage::Malformed("an intent's node"));
    }
    Ok(if kind == LEAVE { SerfMessage::Leave { time, node, prune } } else { SerfMessage::Join { time, node } })
}

impl UserEvent {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(USER_EVENT);
        put_map(out, 4);
        put_raw(out, b"CC");
        put_boolean(out, self.coalesce);
        put_time(out, self.time);
        put_field(out, "Name", &self.name);
        put_raw(out, b"Payload");
        put_slice(out, &self.payload);
    }

    fn decode(body: &[u8]) -> Result<Self, BadMessage> {
        let mut event = Self { time: 0, name: Bytes::new(), payload: Bytes::new(), coalesce: false };
        Reader::new(body).structure("a user event", &["LTime", "Name", "Payload", "CC"], |position, reader| {
            match position {
                0 => event.time = reader.integer("an event's time")?,
                1 => event.name = reader.owned_string("an event's name")?,
                2 => event.payload = reader.owned_bytes("an event's payload")?,
                _ => event.coalesce = reader.boolean("an event's flag")?,
            }
            Ok(())
        })?;
        Ok(event)
    }
}

impl QueryResponse {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(QUERY_RESPONSE);
        put_map(out, 5);
        put_number(out, "Flags", self.flags);
        put_field(out, "From", &self.from);
        put_number(out, "ID", self.id);
        put_time(out, self.time);
        put_raw(out, b"Payload");
        put_slice(out, &self.payload);
    }

    fn decode(body: &[u8]) -> Result<Self, BadMessage> {
        let mut response = Self { time: 0, id: 0, from: Bytes::new(), flags: 0, payload: Bytes::new() };
        let fields = ["LTime", "ID", "From", "Flags", "Payload"];
        Reader::new(body).structure("an answer", &fields, |position, reader| {
            match position {
                0 => response.time = reader.integer("an answer's time")?,
                1 => response.id = reader.integer("an answer's number")?,
                2 => response.from = name(reader)?,
                3 => response.flags = reader.integer("an answer's flags")?,
                _ => response.payload = reader.owned_bytes("an answer's payload")?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

/// Fields of a [`Holder`] in declaration order.
const HOLDER: [&str; 11] = [
    "Name",
    "Addr",
    "Port",
    "Tags",
    "Status",
    "ProtocolMin",
    "ProtocolMax",
    "ProtocolCur",
    "DelegateMin",
    "DelegateMax",
    "DelegateCur",
];

impl Holder {
    fn encode(&self, out: &mut BytesMut) {
        let [node_min, node_max, node_now, serf_min, serf_max, serf_now] = self.versions.map(u32::from);
        put_map(out, 11);
        put_field(out, "Addr", &octets(self.addr.ip()));
        put_number(out, "DelegateCur", serf_now);
        put_number(out, "DelegateMax", serf_max);
        put_number(out, "DelegateMin", serf_min);
        put_field(out, "Name", &self.name);
        put_number(out, "Port", self.addr.port().into());
        put_number(out, "ProtocolCur", node_now);
        put_number(out, "ProtocolMax", node_max);
        put_number(out, "ProtocolMin", node_min);
        put_raw(out, b"Status");
        put_signed(out, self.status);
        put_raw(out, b"Tags");
        put_map(out, self.tags.len());
        for (tag, value) in &self.tags {
            put_raw(out, tag);
            put_raw(out, value);
        }
    }

    fn decode(body: &[u8]) -> Result<Option<Self>, BadMessage> {
        let (mut holder_name, mut addr, mut port) = (Bytes::new(), Bytes::new(), 0);
        let (mut tags, mut status, mut versions) = (BTreeMap::new(), 0, [0; 6]);
        let mut fields = 0;
        Reader::new(body).structure("a name's holder", &HOLDER, |position, reader| {
            fields += 1;
            match position {
                0 => holder_name = name(reader)?,
                1 => addr = reader.owned_bytes("a holder's address")?,
                2 => port = reader.integer("a holder's port")?,
                3 => {
                    for _ in 0..reader.map("a holder's tags")? {
                        let tag = reader.owned_string("a holder's tag")?;
                        tags.insert(tag, reader.owned_string("a holder's tag")?);
                    }
                }
                4 => status = reader.integer("a holder's status")?,
                version => versions[version - 5] = reader.integer("a holder's versions")?,
            }
            Ok(())
        })?;
        if fields == 0 {
            return Ok(None);
        }
        let addr = socket_address(&addr, port).ok_or(BadMessage::Malformed("a holder's address"))?;
        Ok(Some(Self { name: holder_name, addr, tags, status, versions }))
    }
}

impl KeyResponse {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(KEY_RESPONSE);
        put_map(out, 4);
        put_raw(out, b"Keys");
        if self.keys.is_empty() {
            put_nil(out);
        } else {
            put_list(out, self.keys.len());
            self.keys.iter().for_each(|key| put_raw(out, key));
        }
        put_field(out, "Message", &self.message);
        put_field(out, "PrimaryKey", &self.primary_key);
        put_raw(out, b"Result");
        put_boolean(out, self.result);
    }

    fn decode(body: &[u8]) -> Result<Self, BadMessage> {
        let mut response = Self::default();
        let fields = ["Result", "Message", "Keys", "PrimaryKey"];
        Reader::new(body).structure("a key answer", &fields, |position, reader| {
            match position {
                0 => response.result = reader.boolean("a key answer's result")?,
                1 => response.message = reader.owned_string("a key answer's message")?,
                2 => {
                    let count = reader.list("a key answer's keys")?;
                    let keys = (0..count).map(|_| reader.owned_string("a key"));
                    response.keys = keys.collect::<Result<_, _>>()?;
                }
                _ => response.primary_key = reader.owned_string("a key")?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

impl Relay {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(RELAY);
        put_map(out, 2);
        put_raw(out, b"DestAddr");
        put_map(out, 3);
        put_field(out, "IP", &octets(self.dest.ip()));
        put_number(out, "Port", self.dest.port().into());
        put_field(out, "Zone", b"");
        put_field(out, "DestName", &self.dest_name);
        out.put_slice(&self.message);
    }

    fn decode(body: &[u8]) -> Result<Self, BadMessage> {
        let (mut ip, mut port, mut dest_name) = (Bytes::new(), 0, Bytes::new());
        let mut reader = Reader::new(body);
        reader.structure("a relay's head", &["DestAddr", "DestName"], |position, reader| match position {
            0 => reader.structure("a relay's address", &["IP", "Port", "Zone"], |position, reader| {
                match position {
                    0 => ip = reader.owned_bytes("a relay's address")?,
                    1 => port = reader.integer("a relay's port")?,
                    _ => drop(reader.string("a relay's zone")?),
                }
                Ok(())
            }),
            _ => {
                dest_name = name(reader)?;
                Ok(())
            }
        })?;
        let dest = socket_address(&ip, port).ok_or(BadMessage::Malformed("a relay's address"))?;
        if reader.rest().is_empty() {
            return Err(BadMessage::Malformed("an empty Serf message"));
        }
        Ok(Self { dest, dest_name, message: Bytes::copy_from_slice(reader.rest()) })
    }
}

fn put_time(out: &mut BytesMut, time: u64) {
    put_raw(out, b"LTime");
    put_integer(out, time);
}
