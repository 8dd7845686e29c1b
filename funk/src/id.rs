//! Names and numbers, each a type of its own.

pub use funk_proto::id::{ClusterName, Epoch, LogIndex, NodeName, ShardId, Term, WorkerId};
