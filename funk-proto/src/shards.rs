//! Shards: who should own what, and how a shard changes hands. Who owns what now is part of the replicated
//! [`state`](crate::state).
//!
//! | file | what |
//! |---|---|
//! | `assign` | who should own what, a pure function |
//! | `plan` | the leader: which entries to propose now |
//! | [`dry_run`] | what a change would move, without making it |
//! | [`moves`] | the moves of one node: `handover` and `transfer` together |
//! | `handover` | the owner that gives up: close, drain, release |
//! | `transfer` | what an owner has in memory, on its way to the next |
//! | [`RouteTable`] | the snapshot that callers read |

pub mod assign;
pub mod dry_run;
mod handover;
pub mod moves;
pub mod plan;
mod route;
mod transfer;

pub use route::{Place, RouteNode, RouteTable};
