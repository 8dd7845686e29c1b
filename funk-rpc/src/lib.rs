//! Shard-routed gRPC: the layer that sends each request to the node that owns
//! its shard, the connections between nodes, and the server under them.
//!
//! Nothing here is tied to an async runtime: sockets, timers and tasks come
//! through [`Runtime`](funk_io::Runtime).
//!
//! | module | idea |
//! |---|---|
//! | [`key`] | from a key to its shard |
//! | [`routes`] | which methods are routed, and where their key is |
//! | [`layer`] | the tower layer: serve here, hop once, or wait |
//! | [`pool`] | HTTP/2 connections to other nodes |
//! | `attempt` | one sending of a request, for the hop and the client |
//! | [`limits`] | every bound of the crate |
//! | [`management`] | the management service of a node |
//! | [`cluster_service`] | the cluster for programs that are no node |
//! | [`server`] | accepted connections |
//! | [`families`] | what a node measures, as values |
//! | `services` | several gRPC services behind one endpoint |
//! | `tls` | TLS under HTTP |
//! | `caller`, `roles` | who calls, and who may call what |
//! | `stop` | the signals that end a program |
//! | [`node`] | a whole node, built in a few lines |
//! | [`client`] | a client that follows a cluster and calls the owner directly |
//! | [`console`] | the page, status JSON, event stream, health, metrics |

mod attempt;
mod caller;
pub mod client;
pub mod cluster_service;
pub mod console;
pub mod families;
mod hop_body;
pub mod key;
pub mod layer;
pub mod limits;
pub mod management;
mod message;
mod metrics;
mod net;
pub mod node;
mod one_node;
pub mod pb;
pub mod pool;
mod queue;
mod reply;
mod roles;
pub mod routes;
pub mod server;
mod services;
mod stop;
mod tls;
mod view;

pub use caller::Caller;
pub use cluster_service::ClusterService;
pub use console::{Console, NotReady};
pub use key::{Key, shard_of};
pub use layer::{RouteLayer, RouteService};
pub use management::{Management, ManagementError};
pub use metrics::{RequestMetrics, Way};
pub use net::BoxFuture;
pub use node::{Ended, Node, NodeBuilder};
pub use one_node::OneNode;
pub use pool::Pool;
pub use routes::Routes;
pub use server::{HandshakeCounts, ListenerCounts, Protocol, Server, serve, serve_over};
pub use services::{GrpcService, Services};
pub use stop::Stop;
pub use tls::ServerTls;
pub use tonic::body::Body;
