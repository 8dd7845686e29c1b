//! Serf's query: a question to all nodes, or to those that its filters let through.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::BadMessage;
use super::msgpack::{Reader, put_integer, put_list, put_map, put_nil, put_raw, put_slice};
use super::node_record::{octets, socket_address};
use super::packet::{name, put_field, put_number};
use crate::limits::GOSSIP_QUERY_FILTERS_MAX;

/// Fields in declaration order, as a list-encoded query has them.
const FIELDS: [&str; 11] =
    ["LTime", "ID", "Addr", "Port", "SourceNode", "Filters", "Flags", "RelayFactor", "Timeout", "Name", "Payload"];
/// A filter that names nodes.
const NODES: u8 = 0;
/// A filter that matches a tag.
const TAG: u8 = 1;

/// A question to all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Lamport time of the query clock.
    pub time: u64,
    /// Tells it from others of the same time.
    pub id: u32,
    /// Where the answers go.
    pub source: SocketAddr,
    /// Who asks; empty from old agents.
    pub source_node: Bytes,
    /// Who shall answer: those that all filters let through. At most [`GOSSIP_QUERY_FILTERS_MAX`].
    pub filters: Vec<Filter>,
    /// [`WANT_ACK`](Self::WANT_ACK), [`NO_REBROADCAST`](Self::NO_REBROADCAST).
    pub flags: u32,
    /// Others by whom each answer is sent as well.
    pub relay_factor: u8,
    /// Time from the query's receipt for which answers are of use.
    pub timeout: Duration,
    /// Its name; those that begin with `_serf_` are Serf's own.
    pub name: Bytes,
    /// What is asked.
    pub payload: Bytes,
}

/// Who shall answer a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Nodes of these names.
    Nodes(Vec<Bytes>),
    /// Nodes whose tag matches.
    Tag {
        /// The tag.
        tag: Bytes,
        /// A regular expression, unanchored; it is not checked here.
        expression: Bytes,
    },
    /// What nobody understands, and lets nobody through.
    Other(Bytes),
}

impl Query {
    /// Flag: each receiver that the filters let through says so.
    pub const WANT_ACK: u32 = 1;
    /// Flag: receivers do not pass the query on.
    pub const NO_REBROADCAST: u32 = 2;

    pub(super) fn encode(&self, out: &mut BytesMut) {
        put_map(out, 11);
        put_field(out, "Addr", &octets(self.source.ip()));
        put_raw(out, b"Filters");
        if self.filters.is_empty() {
            put_nil(out);
        } else {
            put_list(out, self.filters.len());
            self.filters.iter().for_each(|filter| put_raw(out, &filter.encode()));
        }
        put_number(out, "Flags", self.flags);
        put_number(out, "ID", self.id);
        put_raw(out, b"LTime");
        put_integer(out, self.time);
        put_field(out, "Name", &self.name);
        put_raw(out, b"Payload");
        put_slice(out, &self.payload);
        put_number(out, "Port", self.source.port().into());
        put_number(out, "RelayFactor", self.relay_factor.into());
        put_field(out, "SourceNode", &self.source_node);
        put_raw(out, b"Timeout");
        put_integer(out, u64::try_from(self.timeout.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, BadMessage> {
        let (mut time, mut id, mut addr, mut port) = (0, 0, Bytes::new(), 0);
        let (mut source_node, mut filters, mut flags, mut relay_factor) = (Bytes::new(), Vec::new(), 0, 0);
        let (mut nanoseconds, mut label, mut payload) = (0_i64, Bytes::new(), Bytes::new());
        Reader::new(body).structure("a query", &FIELDS, |position, reader| {
            match position {
                0 => time = reader.integer("a query's time")?,
                1 => id = reader.integer("a query's number")?,
                2 => addr = reader.owned_bytes("a query's source")?,
                3 => port = reader.integer("a query's port")?,
                4 => source_node = name(reader)?,
                5 => filters = read_filters(reader)?,
                6 => flags = reader.integer("a query's flags")?,
                7 => relay_factor = reader.integer("a query's relay factor")?,
                8 => nanoseconds = reader.integer("a query's timeout")?,
                9 => label = reader.owned_string("a query's name")?,
                _ => payload = reader.owned_bytes("a query's payload")?,
            }
            Ok(())
        })?;
        let source = socket_address(&addr, port).ok_or(BadMessage::Malformed("a query's source"))?;
        let nanoseconds = u64::try_from(nanoseconds).map_err(|_| BadMessage::Malformed("a query's timeout"))?;
        let timeout = Duration::from_nanos(nanoseconds);
        Ok(Self { time, id, source, source_node, filters, flags, relay_factor, timeout, name: label, payload })
    }
}

/// An empty filter is refused with its query: it ends an agent that gets it.
fn read_filters(reader: &mut Reader<'_>) -> Result<Vec<Filter>, BadMessage> {
    let count = reader.list("a query's filters")?;
    if count > GOSSIP_QUERY_FILTERS_MAX as u64 {
        return Err(BadMessage::Oversized("a query's filters"));
    }
    (0..count).map(|_| Filter::decode(&reader.byte_string("a query's filter")?)).collect()
}

impl Filter {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Nodes(names) => {
                out.put_u8(NODES);
                put_list(&mut out, names.len());
                names.iter().for_each(|name| put_raw(&mut out, name));
            }
            Self::Tag { tag, expression } => {
                out.put_u8(TAG);
                put_map(&mut out, 2);
                put_field(&mut out, "Expr", expression);
                put_field(&mut out, "Tag", tag);
            }
            Self::Other(bytes) => out.put_slice(bytes),
        }
        out.freeze()
    }

    fn decode(filter: &[u8]) -> Result<Self, BadMessage> {
        let (&kind, body) = filter.split_first().ok_or(BadMessage::Malformed("an empty filter"))?;
        let read = match kind {
            NODES => Self::nodes(body),
            TAG => Self::tag(body),
            other => Err(BadMessage::Type(other)),
        };
        Ok(read.unwrap_or_else(|_| Self::Other(Bytes::copy_from_slice(filter))))
    }

    fn nodes(body: &[u8]) -> Result<Self, BadMessage> {
        let mut reader = Reader::new(body);
        let count = reader.list("a filter's names")?;
        (0..count).map(|_| name(&mut reader)).collect::<Result<_, _>>().map(Self::Nodes)
    }

    fn tag(body: &[u8]) -> Result<Self, BadMessage> {
        let (mut tag, mut expression) = (Bytes::new(), Bytes::new());
        Reader::new(body).structure("a tag's filter", &["Tag", "Expr"], |position, reader| {
            match position {
                0 => tag = reader.owned_string("a filter's tag")?,
                _ => expression = reader.owned_string("a filter's expression")?,
            }
            Ok(())
        })?;
        Ok(Self::Tag { tag, expression })
    }
}
