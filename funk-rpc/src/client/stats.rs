//! What a client counts of its own requests.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a client did since its start. Each request that has ended is in one of
/// `direct`, `passed_on` and `failed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests that callers began.
    pub requests: u64,
    /// Of these, answered by the very node that was called.
    pub direct: u64,
    /// Of these, answered by another node than the one that was called, which passed them on: no
    /// owner was known to the client, or it had just changed, or the channel has no routes.
    pub passed_on: u64,
    /// Of these, ended without an answer of the service: a node's last word that it is not
    /// available, no node in time, or the caller waited no longer.
    pub failed: u64,
    /// Tries beyond the first of each request.
    pub retried: u64,
    /// Connections that are open now, the one to the node that is watched left out.
    pub connections: usize,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, direct, passed_on, failed, retried, connections } = self;
        write!(
            f,
            "{requests} requests: {direct} direct, {passed_on} passed on by another node, {failed} failed; \
             {retried} tries again, {connections} connections open"
        )
    }
}

/// The counts under way.
#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    direct: AtomicU64,
    passed_on: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    /// What was counted so far, with the connections that are open.
    pub(super) fn stats(&self, connections: usize) -> Stats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            requests: read(&self.requests),
            direct: read(&self.direct),
            passed_on: read(&self.passed_on),
            failed: read(&self.failed),
            retried: read(&self.retried),
            connections,
        }
    }

    /// A request begins.
    pub(super) fn begin(&self) -> Counted<'_> {
        add(&self.requests);
        Counted { counters: self, answered: false }
    }
}

/// A request that is under way. It has failed if it ends before it is answered, however that comes.
#[derive(Debug)]
pub(super) struct Counted<'a> {
    counters: &'a Counters,
    answered: bool,
}

impl Counted<'_> {
    /// It is sent again.
    pub(super) fn again(&self) {
        add(&self.counters.retried);
    }

    /// The service answered, at the node that was called or at another one.
    pub(super) fn answered(&mut self, direct: bool) {
        if !std::mem::replace(&mut self.answered, true) {
            add(if direct { &self.counters.direct } else { &self.counters.passed_on });
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.answered {
            add(&self.counters.failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_ends_as_one_of_three() {
        let counters = Counters::default();
        counters.begin().answered(true);
        counters.begin().answered(false);
        drop(counters.begin());
        let mut again = counters.begin();
        again.again();
        again.again();
        again.answered(true);
        drop(again);
        let stats = counters.stats(3);
        let wanted = Stats { requests: 4, direct: 2, passed_on: 1, failed: 1, retried: 2, connections: 3 };
        assert_eq!(stats, wanted);
        let said = "4 requests: 2 direct, 1 passed on by another node, 1 failed; 2 tries again, 3 connections open";
        assert_eq!(stats.to_string(), said);
    }
}
