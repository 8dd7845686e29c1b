//! The closing table.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use funk::client::Stats;
use serde_json::{Value, json};

use super::check::Epochs;

/// One answered request.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The node that served it.
    pub node: String,
    /// From its first try to its answer.
    pub took: Duration,
    /// Tries beyond the first.
    pub retries: u64,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Report {
    served: BTreeMap<String, Vec<Duration>>,
    /// Tries beyond the first.
    pub retries: u64,
    /// Failed tries.
    pub errors: u64,
    /// Requests without an answer in time, or with a wrong one.
    pub lost: u64,
    /// Why the last one was lost.
    pub last_loss: Option<String>,
    /// Epochs seen.
    pub epochs: Epochs,
    /// How long the run took.
    pub took: Duration,
    /// What the client library counted.
    pub calls: Stats,
}

impl Report {
    /// Takes in an answered request.
    pub fn answered(&mut self, sample: Sample) {
        self.retries += sample.retries;
        self.served.entry(sample.node).or_default().push(sample.took);
    }

    /// Requests answered.
    pub fn count(&self) -> usize {
        self.served.values().map(Vec::len).sum()
    }

    /// Whether every request was answered, and no epoch went backwards.
    pub fn good(&self) -> bool {
        self.lost == 0 && self.epochs.regressions == 0
    }

    /// Sorts the samples; call before showing.
    pub fn finish(&mut self, took: Duration) {
        self.took = took;
        for times in self.served.values_mut() {
            times.sort_unstable();
        }
    }

    fn rows(&self) -> impl Iterator<Item = (&str, [Duration; 4], usize)> {
        self.served.iter().map(|(node, times)| {
            let at = |part: f64| times[rank(times.len(), part)];
            (node.as_str(), [at(0.0), at(0.5), at(0.99), at(1.0)], times.len())
        })
    }

    /// The same as JSON; times in milliseconds.
    pub fn json(&self) -> Value {
        let nodes: serde_json::Map<String, Value> = self
            .rows()
            .map(|(node, times, count)| {
                let [min, median, p99, max] = times.map(milliseconds);
                let row = json!({ "count": count, "min_ms": min, "median_ms": median, "p99_ms": p99, "max_ms": max });
                (node.to_owned(), row)
            })
            .collect();
        json!({
            "nodes": nodes,
            "total": self.count() as u64 + self.lost,
            "answered": self.count(),
            "lost": self.lost,
            "retries": self.retries,
            "errors": self.errors,
            "epoch_regressions": self.epochs.regressions,
            "seconds": self.took.as_secs_f64(),
            "last_loss": self.last_loss,
            "client": {
                "requests": self.calls.requests,
                "direct": self.calls.direct,
                "passed_on": self.calls.passed_on,
                "failed": self.calls.failed,
                "retried": self.calls.retried,
                "connections": self.calls.connections,
            },
        })
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the part is between 0 and 1")]
fn rank(count: usize, part: f64) -> usize {
    ((count as f64 * part).ceil() as usize).clamp(1, count) - 1
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<28} {:>9} {:>9} {:>9} {:>9} {:>9}", "node", "count", "min ms", "median", "p99", "max")?;
        for (node, times, count) in self.rows() {
            let [min, median, p99, max] = times.map(milliseconds);
            writeln!(f, "{node:<28} {count:>9} {min:>9.3} {median:>9.3} {p99:>9.3} {max:>9.3}")?;
        }
        writeln!(
            f,
            "total {} in {:.1} s, lost {}, retries {}, errors {}",
            self.count() as u64 + self.lost,
            self.took.as_secs_f64(),
            self.lost,
            self.retries,
            self.errors
        )?;
        writeln!(f, "epoch regressions: {}", self.epochs.regressions)?;
        write!(f, "client: {}", self.calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_row_for_each_node() {
        let mut report = Report::default();
        for ms in 1..=100 {
            report.answered(Sample { node: "a".into(), took: Duration::from_millis(ms), retries: 0 });
        }
        report.answered(Sample { node: "b".into(), took: Duration::from_millis(7), retries: 2 });
        report.finish(Duration::from_secs(1));
        let json = report.json();
        assert_eq!(json["nodes"]["a"]["median_ms"], 50.0);
        assert_eq!(json["nodes"]["a"]["p99_ms"], 99.0);
        assert_eq!(json["nodes"]["b"]["count"], 1);
        assert_eq!((json["total"].as_u64(), json["retries"].as_u64()), (Some(101), Some(2)));
        assert!(report.good());
        assert_eq!(json["client"]["direct"], 0);
        let text = report.to_string();
        assert_eq!(text.lines().count(), 6);
        assert!(text.ends_with(
            "\nclient: 0 requests: 0 direct, 0 passed on by another node, 0 failed; 0 tries again, 0 connections open"
        ));
        report.lost = 1;
        assert!(!report.good());
    }
}
