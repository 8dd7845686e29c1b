//! The parts of gRPC that a node is made of, for those who put them together themselves or are generic over the
//! runtime, and the crates that they were built with.
//!
//! What tonic generates names `tonic`, `tonic_prost` and `prost`, which your crate must depend on too. Versions that
//! cargo takes for compatible are the same crates as those here.

pub use funk_rpc::{
    Body, BoxFuture, ClusterService, GrpcService, ListenerCounts, Node, NodeBuilder, OneNode, Pool, Protocol,
    RouteLayer, RouteService, Server, cluster_service, management, pb, serve,
};
pub use http;
pub use prost;
pub use tonic;
