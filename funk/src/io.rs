//! A node without anything around it: its sockets, and a [`Cluster`](crate::Cluster).
//!
//! For services that speak no gRPC. `Cluster::guard` and the route table work with any protocol of yours.

pub use funk_io::discovery::resolve;
pub use funk_io::{
    Discovery, IoCounters, LastWords, Options, Sockets, StoreError, default_interface, limits, meters, random_name,
    start,
};
pub use funk_proto::NodeConfig;
