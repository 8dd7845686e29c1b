//! The generated code of the gRPC services; `cargo run -p funk-gen` writes it.

/// Management of a cluster, from `proto/managepb.proto`.
#[allow(missing_docs, unused_qualifications, clippy::all, reason = "generated")]
pub mod managepb {
    include!("pb/managepb.rs");
}

/// The cluster as a node sees it, from `proto/cluster.proto`.
#[allow(missing_docs, unused_qualifications, clippy::all, reason = "generated")]
pub mod cluster {
    include!("pb/funk.cluster.v1.rs");
}
