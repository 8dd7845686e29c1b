//! Requests of one listener that were read and whose tasks have not run yet. While there are many, who has some of them
//! is not read: a flood waits in its sockets and not in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::{BACKLOG_REQUESTS_MAX, BACKLOG_REQUESTS_STOP};

/// How many there are, of all connections of a listener.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    requests: AtomicUsize,
    /// The most that there have been.
    pub(super) most: AtomicUsize,
}

/// How many there are of one connection.
#[derive(Debug)]
pub(super) struct Share {
    all: Arc<Backlog>,
    own: AtomicUsize,
}

/// One of them, until it is dropped.
pub(super) struct Unbegun(Arc<Share>);

impl Share {
    pub(super) fn new(all: &Arc<Backlog>) -> Arc<Self> {
        Arc::new(Self { all: Arc::clone(all), own: AtomicUsize::new(0) })
    }

    /// A request was read.
    pub(super) fn add(self: &Arc<Self>) -> Unbegun {
        self.own.fetch_add(1, Ordering::AcqRel);
        let before = self.all.requests.fetch_add(1, Ordering::AcqRel);
        self.all.most.fetch_max(before + 1, Ordering::Relaxed);
        Unbegun(Arc::clone(self))
    }

    /// Whether no more of this connection is to be read for now.
    pub(super) fn is_full(&self) -> bool {
        let all = self.all.requests.load(Ordering::Acquire);
        all >= BACKLOG_REQUESTS_STOP || all >= BACKLOG_REQUESTS_MAX && self.own.load(Ordering::Acquire) > 0
    }
}

impl Drop for Unbegun {
    fn drop(&mut self) {
        self.0.own.fetch_sub(1, Ordering::AcqRel);
        self.0.all.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_many_is_not_read_and_who_has_none_is() {
        let all = Arc::default();
        let (greedy, other) = (Share::new(&all), Share::new(&all));
        let read: Vec<_> = (0..BACKLOG_REQUESTS_MAX).map(|_| greedy.add()).collect();
        assert!(greedy.is_full() && !other.is_full());
        let more: Vec<_> = (BACKLOG_REQUESTS_MAX..BACKLOG_REQUESTS_STOP).map(|_| greedy.add()).collect();
        assert!(other.is_full(), "too many are too many");
        drop((read, more));
        assert!(!greedy.is_full());
    }
}
