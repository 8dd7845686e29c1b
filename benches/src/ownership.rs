//! The ownership check with real processes: nodes write to a store that
//! refuses stale epochs while they are stopped, cut off and killed.

pub mod node;
pub mod record;
pub mod round;
pub mod store;
pub mod writers;

use rustix::time::{ClockId, clock_gettime};

/// Shards of the cluster under test.
pub const SHARDS: u32 = 24;

/// A promise that is broken on purpose, to show that the check sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// None.
    #[default]
    None,
    /// Nodes go on with a guard whose lease is over.
    Guard,
    /// The store takes every epoch; nodes go on as with `Guard`.
    Store,
    /// The store forgets one write in a hundred that it acknowledged.
    Loss,
}

/// Nanoseconds of the clock that counts suspends; all processes of one machine read the same.
pub fn boot_time() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}
