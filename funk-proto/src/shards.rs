//! Shards: who owns what, who should, and how it changes hands.
//!
//! | file | what |
//! |---|---|
//! | `state` | the replicated state: members and map, changed only by applied entries |
//! | `assign` | who should own what, a pure function |
//! | `plan` | the leader: which entries to propose now |
//! | [`dry_run`] | what a change would move, without making it |
//! | `handover` | the owner that gives up: close, drain, release |
//! | `carry` | what an owner has in memory, on its way to the next |
//! | [`RouteTable`] | the picture that callers read |

pub mod assign;
pub mod carry;
pub mod dry_run;
pub mod handover;
mod map;
mod members;
mod pins;
pub mod plan;
mod route;
pub mod set;
mod snapshot;
pub mod state;
mod workers;

pub use crate::id::Incarnation;
pub use map::{Columns, ShardMap, ShardState};
pub use members::{Member, Members};
pub use pins::Pins;
pub use route::{Place, RouteNode, RouteTable};
pub(crate) use snapshot::worker_record;
pub use workers::Workers;
