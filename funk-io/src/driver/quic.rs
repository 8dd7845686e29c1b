//! Streams between nodes over QUIC: one connection for what is one TCP stream elsewhere.
//!
//! Heartbeats have a socket of their own, and never wait for anything here. The packets, timers and keys of QUIC are
//! [quinn](https://docs.rs/quinn)'s, on a [thread](endpoint) of its own, which runs on the same kind of runtime as the
//! driver. The driver reads and writes [lanes](link): each side sends on three unidirectional streams, so that neither
//! the state of a shard nor a snapshot keeps other messages waiting when a packet of it is lost.
//!
//! | file | what |
//! |---|---|
//! | `runtime` | quinn's runtime, over ours |
//! | `endpoint` | the thread, dials and accepts |
//! | `guests` | how many handshakes with those who dial are under way |
//! | `settings` | the settings of a connection, and whom it believes |
//! | `link` | an open connection in the driver |
//! | `lane` | one direction of one of its streams |

mod endpoint;
mod guests;
mod lane;
mod link;
mod runtime;
mod settings;

pub(crate) use endpoint::Quic;
pub(super) use endpoint::{Dialling, Knock, Opened};
pub(super) use link::Link;
