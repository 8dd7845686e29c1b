//! Bytes on the wire: decoded once, into types that cannot be wrong.

pub mod cluster;
pub mod frame;
pub mod gossip;
pub mod journal;
pub mod liveness;
pub mod raft;
pub mod varint;
