//! The restart check with real processes: nodes with a state of their own on
//! the log are all killed at once under load, and must come back with the same
//! map and with everything that was acknowledged.

pub mod node;
pub mod round;
pub mod state;
pub mod writers;

/// Shards of the cluster under test.
pub const SHARDS: u32 = 240;
