//! Nodes and clients on async-std, which is discontinued (RUSTSEC-2025-0052): for services that still run on it.

pub use funk_async_std::AsyncStd;

/// Builds a [`Node`] on async-std.
#[cfg(feature = "grpc")]
pub type NodeBuilder = funk_rpc::NodeBuilder<AsyncStd>;
/// A node on async-std.
#[cfg(feature = "grpc")]
pub type Node = funk_rpc::Node<AsyncStd>;
/// A client on async-std.
#[cfg(feature = "grpc")]
pub type Client = funk_rpc::client::Client<AsyncStd>;
