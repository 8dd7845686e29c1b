//! What is to happen in a world, and to whom.

use std::net::SocketAddr;

use bytes::Bytes;
use funk_proto::id::{ConnId, ShardId};
use funk_proto::{CloseReason, DatagramSocket, Input, StreamKind, Timestamp};

/// What is to happen, and to whom.
#[derive(Debug)]
pub(crate) enum Happening {
    Datagram {
        to: usize,
        socket: DatagramSocket,
        from: SocketAddr,
        bytes: Bytes,
    },
    Stream {
        to: usize,
        generation: u32,
        conn: ConnId,
        channel: StreamKind,
        bytes: Bytes,
    },
    Closed {
        to: usize,
        generation: u32,
        conn: ConnId,
        why: CloseReason,
    },
    Local {
        to: usize,
        generation: u32,
        input: Input,
    },
    GiveUp {
        to: usize,
        generation: u32,
        conn: ConnId,
        since: Timestamp,
    },
    Flushed {
        to: usize,
        generation: u32,
    },
    /// An alarm counts only while it is the one that its host waits for.
    Wake {
        to: usize,
        generation: u32,
        due: Timestamp,
    },
    ServiceWake {
        to: usize,
        generation: u32,
        due: Timestamp,
    },
    Request {
        to: usize,
        id: u64,
        shard: ShardId,
        bytes: Bytes,
    },
    Answer {
        id: u64,
        answer: Option<Bytes>,
    },
}

impl Happening {
    /// The host that it happens to; `None` for clients.
    pub(crate) fn host(&self) -> Option<usize> {
        match *self {
            Self::Datagram { to, .. }
            | Self::Stream { to, .. }
            | Self::Closed { to, .. }
            | Self::Local { to, .. }
            | Self::GiveUp { to, .. }
            | Self::Flushed { to, .. }
            | Self::Wake { to, .. }
            | Self::ServiceWake { to, .. }
            | Self::Request { to, .. } => Some(to),
            Self::Answer { .. } => None,
        }
    }
}
