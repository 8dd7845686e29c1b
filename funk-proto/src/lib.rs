//! The pure core of funk: membership, consensus, liveness, shard ownership.
//!
//! A [`Node`] is a value. Hand it what happened ([`Input`], with the time at
//! which it happened) and do what it says ([`Output`]); it opens no socket,
//! reads no clock, spawns nothing and draws no randomness but from its
//! [`Seed`]. The same seed and the same inputs give the same outputs, byte for
//! byte, so a whole cluster can live in one test.

pub mod config;
pub mod consensus;
pub mod endpoints;
pub mod error;
pub mod event;
mod evidence;
pub mod gossip;
pub mod id;
pub mod io;
mod joining;
mod leader;
pub mod limits;
pub mod liveness;
#[cfg(funk_mutate)]
pub mod mutate;
#[cfg(not(funk_mutate))]
mod mutate;
mod node;
mod peers;
pub mod request;
pub mod rng;
pub mod service;
pub mod shards;
pub mod state;
pub mod status;
pub mod time;
pub mod version;
pub mod wire;

pub use config::{NodeConfig, Ownership, Participation, Timing};
pub use endpoints::{EndpointEvent, EndpointSet};
pub use error::{ConfigError, Misbehaviour, OperationRefused, Refusal, RequestError};
pub use event::{Event, Outcome};
pub use io::{Channel, CloseReason, DatagramSocket, Input, Output, Persist, Recovered, Token};
pub use node::{LastWord, Node};
pub use request::{Request, RequestId};
pub use rng::Seed;
pub use service::{Service, ServiceInput, ServiceOutput};
pub use status::Status;
pub use time::Timestamp;
