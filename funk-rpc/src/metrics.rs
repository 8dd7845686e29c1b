//! Counts of served requests.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use funk_proto::id::NodeName;
use funk_proto::limits::METRIC_SERIES_MAX;

/// Requests by the node that served them and their method, counted where they came in.
#[derive(Clone, Debug, Default)]
pub struct Requests(Arc<Mutex<BTreeMap<(NodeName, String), u64>>>);

impl Requests {
    /// Counts one request for `method` that `destination` served.
    pub fn count(&self, destination: &NodeName, method: &str) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (destination.clone(), method.to_owned());
        if table.len() < METRIC_SERIES_MAX || table.contains_key(&key) {
            *table.entry(key).or_default() += 1;
        }
    }

    /// Requests by the node that served them, all methods together.
    pub(crate) fn by_destination(&self) -> BTreeMap<NodeName, u64> {
        let mut sums = BTreeMap::new();
        for ((destination, _), count) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            *sums.entry(destination.clone()).or_default() += count;
        }
        sums
    }

    /// Writes the counter in Prometheus' text format, with the label `node` of the asked node.
    pub(crate) fn write(&self, node: &NodeName, text: &mut String) {
        text.push_str("# HELP cf_cluster_requests Requests that came in here, by the node that served them.\n");
        text.push_str("# TYPE cf_cluster_requests counter\n");
        for ((destination, method), count) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(
                text,
                "cf_cluster_requests{{node=\"{node}\",destination=\"{destination}\",method=\"{method}\"}} {count}"
            );
        }
    }
}
