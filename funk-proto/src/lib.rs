//! The pure core of funk: membership, consensus, liveness, shard ownership.
//!
//! A [`Node`] is a value. Hand it what happened ([`Input`], with the time at
//! which it happened) and do what it says ([`Output`]); it opens no socket,
//! reads no clock, spawns nothing and draws no randomness but from its
//! [`Seed`]. The same seed and the same inputs give the same outputs, byte for
//! byte, so a whole cluster can live in one test.

#![allow(
    unreachable_pub,
    reason = "the machines say `pub` for what their owner calls, whether or not their module is shown"
)]

// Shown: what a user of a `Node` handles. Hidden: the inside, which the driver, the simulator, the benches and the
// fuzzers of this project reach into, and which may change with any version.
pub mod config;
#[doc(hidden)]
pub mod consensus;
#[doc(hidden)]
pub mod endpoints;
pub mod error;
pub mod event;
mod evidence;
#[doc(hidden)]
pub mod gossip;
pub mod id;
pub mod io;
mod joining;
mod leader;
#[doc(hidden)]
pub mod limits;
#[doc(hidden)]
pub mod liveness;
#[cfg(funk_mutate)]
#[doc(hidden)]
pub mod mutate;
#[cfg(not(funk_mutate))]
mod mutate;
mod node;
mod peers;
#[doc(hidden)]
pub mod request;
#[doc(hidden)]
pub mod rng;
#[doc(hidden)]
pub mod service;
#[doc(hidden)]
pub mod shards;
#[doc(hidden)]
pub mod state;
pub mod status;
#[doc(hidden)]
pub mod time;
#[doc(hidden)]
pub mod version;
#[doc(hidden)]
pub mod wire;

pub use config::{ClusterTiming, NodeConfig, Ownership, Participation, Timing, TimingProfile};
pub use endpoints::{EndpointEvent, EndpointSet};
pub use error::{ConfigError, Misbehaviour, OperationRefused, Refusal, RequestError};
pub use event::{Event, Outcome};
pub use io::{
    CloseReason, DatagramSocket, GossipRefusal, Input, Output, PeerIdentity, Persist, Recovered, RefusedPeer,
    StreamKind, Token,
};
pub use node::{LastWord, Node};
pub use request::{Request, RequestId};
pub use rng::Seed;
pub use service::{Service, ServiceInput, ServiceOutput};
pub use shards::{Place, RouteNode, RouteTable};
pub use status::Status;
pub use time::Timestamp;
pub use wire::gossip::{
    BadKey, GossipKey, GossipKeys, KeyAnswer, KeyChange, KeyId, KeyOrder, KeyRefused, KeyReport, Keyring,
};
