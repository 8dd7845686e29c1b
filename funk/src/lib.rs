//! Run a stateful service on several machines, with exactly one of them in charge of each key.
//!
//! Processes that use this library find each other, elect a leader, divide a fixed number of shards among themselves,
//! and send every request to the process that owns its key. When a process dies, the others serve its keys again in
//! about 150 ms. Through pauses, partitions and leader changes no two processes ever serve one key at the same time.
//!
//! # A node
//!
//! ```no_run
//! # #[cfg(all(feature = "tokio", feature = "grpc"))] mod example {
//! # use funk::grpc::{GrpcService, http::HeaderName, tonic::server::NamedService};
//! use funk::{Ended, NodeBuilder, Routes};
//!
//! # async fn run<S: GrpcService + NamedService>(greeter: S) -> Result<Ended, Box<dyn std::error::Error>>
//! # where S::Future: Send {
//! // Where the key of a request is: here, in a header.
//! let routes = Routes::new().by_header("/greet.Greeter/Greet", HeaderName::from_static("x-name"));
//! // `greeter` is what tonic generates: GreeterServer::new(MyGreeter)
//! let node = NodeBuilder::new("greetings".parse()?).service("ep.greet", routes, |_cluster| greeter).start()?;
//! // Until SIGTERM or SIGINT, and then until it has left.
//! Ok(node.run().await)
//! # } }
//! ```
//!
//! A request may go to any node. Its handler runs at the owner of its key, under a [`ShardGuard`], and an answer
//! whose guard ran out meanwhile is withheld. `NodeBuilder` sets everything else: addresses,
//! data directory, discovery, a state of your own on the log, what moves along with a shard.
//!
//! # Features
//!
//! Features add names and never change what others mean.
//!
//! | feature | adds | default |
//! |---|---|---|
//! | `tokio` | `funk::tokio`; with `grpc`, also its names at the root | yes |
//! | `smol` | `funk::smol` | |
//! | `async-std` | `funk::async_std`; the runtime is discontinued | |
//! | `grpc` | nodes with services, `funk::grpc`, `funk::client`, management, the status page, metrics | yes |
//! | `prometheus-client` | `funk::metrics::Measured`, for a registry of that crate | |
//! | `sim` | `funk::sim`: your service on simulated networks, clocks and disks | |
//! | `test-util` | `funk::conformance`: what a [`Runtime`] of your own must do | |
//!
//! Without `grpc` there is [`io::start`], which gives a [`Cluster`] and nothing around it, for protocols of your own.
//!
//! Unix only.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "async-std")]
pub mod async_std;
#[cfg(feature = "grpc")]
pub mod client;
pub mod discovery;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod id;
pub mod io;
#[cfg(feature = "grpc")]
pub mod metrics;
pub mod service;
#[cfg(feature = "smol")]
pub mod smol;
#[cfg(feature = "tokio")]
pub mod tokio;

#[cfg(all(feature = "tokio", feature = "grpc"))]
pub use self::tokio::{Client, Node, NodeBuilder};
#[cfg(feature = "test-util")]
pub use funk_io::conformance;
pub use funk_io::{
    AcquireError, Cluster, DataDir, DiscoveryEvent, Endpoints, Event, Events, EventsEnd, Handover, NotOwner,
    NotOwnerReason, OperationError, ProposeError, Runtime, ShardGuard, ShardState, StartError, StateMachine,
    StopReason, Stopped, Watch, watcher,
};
pub use funk_proto::status::{self, Status};
pub use funk_proto::{
    BadKey, ClusterTiming, ConfigError, EndpointEvent, EndpointSet, Event as NodeEvent, GossipKey, GossipKeys,
    KeyRefused, Keyring, OperationRefused, Ownership, Participation, Place, Refusal, RequestError, RouteNode,
    RouteTable, Timestamp, Timing, TimingProfile,
};
#[cfg(feature = "grpc")]
pub use funk_rpc::{Console, Ended, Key, Management, ManagementError, NotReady, Routes, Services, Stop, shard_of};
#[cfg(feature = "sim")]
pub use funk_sim as sim;
