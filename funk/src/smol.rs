//! Nodes and clients on smol.

pub use funk_smol::Smol;

/// Builds a [`Node`] on smol.
#[cfg(feature = "grpc")]
pub type NodeBuilder = funk_rpc::NodeBuilder<Smol>;
/// A node on smol.
#[cfg(feature = "grpc")]
pub type Node = funk_rpc::Node<Smol>;
/// A client on smol.
#[cfg(feature = "grpc")]
pub type Client = funk_rpc::client::Client<Smol>;
