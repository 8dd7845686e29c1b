//! Bytes on the wire: decoded once, into types that cannot be wrong.

pub mod frame;
pub mod gossip;
pub mod raft;
