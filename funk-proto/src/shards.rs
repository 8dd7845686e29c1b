//! Shards: who owns what, who should, and how it changes hands.

mod route;

pub use route::{Place, RouteNode, RouteTable};
