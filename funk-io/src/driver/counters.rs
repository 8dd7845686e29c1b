//! What the driver counts; everything else is counted by the core.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a driver's sockets and streams did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoCounters {
    /// Passes of the driver's loop.
    pub passes: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Datagrams that the operating system did not take.
    pub datagrams_unsent: u64,
    /// Streams accepted.
    pub streams_accepted: u64,
    /// Streams dropped at once, since too many were open.
    pub streams_refused: u64,
    /// Streams closed for bytes that could not be framed.
    pub streams_malformed: u64,
    /// Streams closed because their queue overflowed.
    pub streams_overflowed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) passes: Counter,
    pub(crate) datagrams_received: Counter,
    pub(crate) datagrams_sent: Counter,
    pub(crate) datagrams_unsent: Counter,
    pub(crate) streams_accepted: Counter,
    pub(crate) streams_refused: Counter,
    pub(crate) streams_malformed: Counter,
    pub(crate) streams_overflowed: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Only the driver's thread adds, so this need not be one atomic step.
    pub(crate) fn add_one(&self) {
        self.0.store(self.read() + 1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn read(&self) -> IoCounters {
        IoCounters {
            passes: self.passes.read(),
            datagrams_received: self.datagrams_received.read(),
            datagrams_sent: self.datagrams_sent.read(),
            datagrams_unsent: self.datagrams_unsent.read(),
            streams_accepted: self.streams_accepted.read(),
            streams_refused: self.streams_refused.read(),
            streams_malformed: self.streams_malformed.read(),
            streams_overflowed: self.streams_overflowed.read(),
        }
    }
}
