//! The driver of funk: it gives the pure core its sockets, streams, clock and
//! timers, and gives the application a [`Cluster`] handle.
//!
//! The driver runs on its own thread, so a handler of the application that
//! blocks never stops a heartbeat. It is generic over a small [`Runtime`]
//! trait; `funk-tokio` and `funk-smol` implement it.
//!
//! | file | what |
//! |---|---|
//! | `runtime` | what the driver needs of an async runtime |
//! | `sockets` | the sockets of a node |
//! | `interface` | the address at which others reach this machine |
//! | `clock` | the node's clock, which counts suspend |
//! | `cluster` | the handle: requests in, snapshots and events out |
//! | `shared` | what the handle and the driver share |
//! | `options` | what a node is started with |
//! | `gate` | who may serve a shard now: route table, lease, guards |
//! | `keyring` | the file of the gossip keyring |
//! | `last_words` | what this process tells its peers when it ends |
//! | `watcher` | a child process that tells the peers when this process is gone |
//! | `watch`, `events`, `endpoints` | how the application learns of changes |
//! | `application` | who keeps the application's own state |
//! | `driver` | the one loop that owns the node |
//! | `meters` | what an operator measures of it |
//! | `discovery` | how nodes find each other: multicast DNS, DNS, addresses |
//! | `store` | where the core's writes go |
//! | `state_machine` | the application's own state on the log |
//! | `handover` | what the application has of a shard, for the shard's next owner |
//! | `shard_state` | the same, from the moment the node owns the shard until it is gone |
//! | `service` | a user's service as a value, as the simulator runs it, on a real node |
//! | `seldom` | what happens all the time and is said seldom |
//! | `conformance` | what every [`Runtime`] must do, as callable tests |

mod application;
mod clock;
mod cluster;
#[doc(hidden)]
pub mod conformance;
pub mod discovery;
mod driver;
mod endpoints;
mod error;
mod events;
mod gate;
mod handover;
mod interface;
mod keyring;
mod last_words;
pub mod limits;
pub mod meters;
mod options;

mod runtime;
mod seldom;
pub mod service;
mod shard_state;
mod shared;
mod sockets;
mod start;
mod state_machine;
mod store;
mod watch;
pub mod watcher;

pub use cluster::Cluster;
pub use discovery::Discovery;
pub use driver::counters::IoCounters;
pub use endpoints::Endpoints;
pub use error::{OperationError, ProposeError, StartError, StopReason, Stopped};
pub use events::{DiscoveryEvent, Event, Events, EventsEnd};
pub use gate::guard::{NotOwner, NotOwnerReason, ShardGuard};
pub use handover::Handover;
pub use interface::default_interface;
pub use last_words::{LastWords, tell_reaped};
pub use options::Options;
pub use runtime::Runtime;
#[doc(hidden)]
pub use seldom::{Seldom, SeldomEach};
pub use shard_state::{AcquireError, BoxShardState, ShardState};
pub use sockets::Sockets;
pub use start::{random_gossip_key, random_name, start};
pub use state_machine::StateMachine;
pub use store::StoreError;
pub use store::data_dir::DataDir;
pub use watch::Watch;
