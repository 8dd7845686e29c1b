//! The programs that stand beside a cluster: `seed`, a gossip-only node that
//! others join through, and `ctrlc`, which manages a cluster.

pub mod ctl;
pub mod seed;
