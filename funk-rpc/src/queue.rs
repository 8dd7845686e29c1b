//! The bounds on requests that wait at the ingress.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the requests that wait, and their bytes.
#[derive(Debug)]
pub(crate) struct Queue {
    requests_max: usize,
    bytes_max: usize,
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// A place in the queue; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Ticket {
    queue: Arc<Queue>,
    bytes: usize,
}

impl Queue {
    pub(crate) fn new(requests_max: usize, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { requests_max, bytes_max, requests: AtomicUsize::new(0), bytes: AtomicUsize::new(0) })
    }

    /// Requests that wait, and their bytes.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.requests.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// A place for a request that holds `bytes`, unless the queue is full.
    pub(crate) fn enter(self: &Arc<Self>, bytes: usize) -> Option<Ticket> {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed);
        let held = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let ticket = Ticket { queue: Arc::clone(self), bytes };
        (requests < self.requests_max && held.saturating_add(bytes) <= self.bytes_max).then_some(ticket)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.queue.requests.fetch_sub(1, Ordering::Relaxed);
        self.queue.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_hold_and_places_come_back() {
        let queue = Queue::new(2, 100);
        let first = queue.enter(60).unwrap();
        assert!(queue.enter(41).is_none(), "too many bytes");
        let _second = queue.enter(40).unwrap();
        assert!(queue.enter(0).is_none(), "too many requests");
        drop(first);
        assert!(queue.enter(60).is_some());
    }
}
