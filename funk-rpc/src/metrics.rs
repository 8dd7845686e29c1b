//! Counts of requests: which node served them, which way they went, how long they took.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::limits::METRIC_SERIES_MAX;
use funk_io::meters::{Counter, Histogram, Reading};
use funk_proto::id::NodeName;

use crate::queue::Queue;

/// Which way a request went that came in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// Served here, for a client.
    Direct,
    /// Served here, for another node that sent it on.
    Peer,
    /// Sent on to the owner of its shard.
    Proxied,
    /// Answered with an error of the routing layer: nobody served it.
    Refused,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Direct, Self::Peer, Self::Proxied, Self::Refused];

    /// Its word in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Peer => "peer",
            Self::Proxied => "proxied",
            Self::Refused => "refused",
        }
    }
}

/// Counts by node and method.
type Served = BTreeMap<String, BTreeMap<String, AtomicU64>>;

#[derive(Debug, Default)]
struct Counts {
    /// Written to only for a pair of node and method that was not seen before.
    served: RwLock<Served>,
    ways: [Histogram; Way::ALL.len()],
    /// Requests that had to wait for an owner.
    waited: Counter,
    /// Where they wait: a queue for each layer that counts here.
    queues: RwLock<Vec<Arc<Queue>>>,
}

/// Requests by the node that served them and their method, and by their way, counted where they came in.
#[derive(Clone, Debug, Default)]
pub struct RequestMetrics(Arc<Counts>);

impl RequestMetrics {
    /// The same counts, for one more layer whose requests wait in `queue`.
    pub(crate) fn and_of(self, queue: &Arc<Queue>) -> Self {
        self.0.queues.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(queue));
        self
    }

    /// Counts one request for `method` that the node named `destination` served.
    /// One that is no node's name is not counted, since another process wrote it.
    pub fn count(&self, destination: &str, method: &str) {
        let served = self.0.served.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = served.get(destination).and_then(|methods| methods.get(method)) {
            count.fetch_add(1, Ordering::Relaxed);
            return;
        }
        drop(served);
        if destination.parse::<NodeName>().is_err() {
            return;
        }
        let mut served = self.0.served.write().unwrap_or_else(PoisonError::into_inner);
        let series: usize = served.values().map(BTreeMap::len).sum();
        let known = served.get(destination).is_some_and(|methods| methods.contains_key(method));
        if known || series < METRIC_SERIES_MAX {
            let methods = served.entry(destination.to_owned()).or_default();
            methods.entry(method.to_owned()).or_default().fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts one request that went this way, and how long its answer took to begin.
    pub(crate) fn took(&self, way: Way, duration: Duration) {
        self.0.ways[way as usize].observe(duration);
    }

    /// Counts one request that has to wait for an owner.
    pub(crate) fn waits(&self) {
        self.0.waited.add_one();
    }

    /// Durations of the requests that went this way.
    pub fn way(&self, way: Way) -> Reading {
        self.0.ways[way as usize].read()
    }

    /// Requests that had to wait for an owner so far.
    pub fn waited(&self) -> u64 {
        self.0.waited.read()
    }

    /// Requests that wait for an owner now, and the bytes that are held of them.
    pub fn waiting(&self) -> (usize, usize) {
        let queues = self.0.queues.read().unwrap_or_else(PoisonError::into_inner);
        let held = queues.iter().map(|queue| queue.held());
        held.fold((0, 0), |(count, bytes), (one, its_bytes)| (count + one, bytes + its_bytes))
    }

    /// Requests by the node that served them, all methods together.
    pub(crate) fn by_destination(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for (destination, _, count) in self.served() {
            *sums.entry(destination).or_default() += count;
        }
        sums
    }

    /// Requests by the node that served them and the method.
    pub fn served(&self) -> Vec<(String, String, u64)> {
        let served = self.0.served.read().unwrap_or_else(PoisonError::into_inner);
        let all = served.iter().flat_map(|(destination, methods)| {
            let read = |(method, count): (&String, &AtomicU64)| {
                (destination.clone(), method.clone(), count.load(Ordering::Relaxed))
            };
            methods.iter().map(read)
        });
        all.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_nodes_are_counted_and_series_are_bounded() {
        let requests = RequestMetrics::default();
        requests.count("a", "/m");
        requests.count("a", "/m");
        requests.count("a\"} 1\nevil 1", "/m");
        assert_eq!(requests.served(), [("a".into(), "/m".into(), 2)]);
        for number in 0..METRIC_SERIES_MAX + 10 {
            requests.count(&format!("n{number}"), "/m");
        }
        assert_eq!(requests.served().len(), METRIC_SERIES_MAX);
        requests.count("a", "/m");
        assert_eq!(requests.by_destination()["a"], 3, "a known one still counts");
    }
}
