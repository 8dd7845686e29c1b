//! Nodes and clients on tokio.

pub use funk_tokio::Tokio;

/// Builds a [`Node`] on tokio.
#[cfg(feature = "grpc")]
pub type NodeBuilder = funk_rpc::NodeBuilder<Tokio>;
/// A node on tokio.
#[cfg(feature = "grpc")]
pub type Node = funk_rpc::Node<Tokio>;
/// A client on tokio.
#[cfg(feature = "grpc")]
pub type Client = funk_rpc::client::Client<Tokio>;
