//! Clients that send requests while something happens to the cluster.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::cluster::{DemoCluster, Discovery, GENEROUS, discovery};
use super::process::Process;
use super::{http, program, wait_for};

/// Requests a second, unless a test wants another number.
const RATE: u32 = 1_000;

/// Requests under way at once: enough to keep the rate while a shard waits for its new owner.
const CONCURRENCY: &str = "512";

/// Whom its certificate names, in a cluster with TLS.
pub const CLIENT: &str = "shop";

/// So many requests show that the client is at work.
const FIRST_REQUESTS: f64 = 200.0;

/// A running client.
#[derive(Debug)]
pub struct Load {
    process: Process,
    length: Duration,
}

/// What the client said at its end.
#[derive(Clone, Debug)]
pub struct Report {
    /// Requests sent; all were answered.
    pub total: u64,
    /// Tries beyond the first of each.
    pub retries: u64,
    /// From the first try to the answer, at worst.
    pub slowest: Duration,
    /// Nodes that answered.
    pub nodes: usize,
    /// Requests that the client counts as answered by the very node that it called.
    pub direct: u64,
    /// Requests that it counts as passed on by that node.
    pub passed_on: u64,
}

impl Load {
    /// Starts `bin/client` against the cluster's live nodes for this long.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(cluster: &mut DemoCluster, length: Duration) -> Result<Self, String> {
        Self::start_at(cluster, RATE, length)
    }

    /// As [`Load::start`], for so many requests.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_requests(cluster: &mut DemoCluster, requests: u64) -> Result<Self, String> {
        let length = Duration::from_millis(requests);
        Self::start_with(cluster, &["--repeats", &requests.to_string()], RATE, length)
    }

    /// As [`Load::start`], with so many requests a second.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_at(cluster: &mut DemoCluster, rate: u32, length: Duration) -> Result<Self, String> {
        let duration = format!("{}ms", length.as_millis());
        Self::start_with(cluster, &["--duration", &duration], rate, length)
    }

    fn start_with(cluster: &mut DemoCluster, how_long: &[&str], rate: u32, length: Duration) -> Result<Self, String> {
        let mut command = Command::new(program("client")?);
        command.env_clear();
        command.args(["--cluster-name", cluster.name(), "--retry", "--json"]);
        command.args(["--rate", &rate.to_string(), "--concurrency", CONCURRENCY]);
        if let Some(pki) = &cluster.pki {
            pki.provide("client", CLIENT)?;
            command.args(pki.flags(CLIENT));
        }
        command.args(how_long);
        if discovery() == Discovery::Join {
            for node in cluster.live() {
                command.args(["--join", &cluster.nodes[node].serf.to_string()]);
            }
        }
        let process = Process::start("client", command, cluster.dir())?;
        Ok(Self { process, length })
    }

    /// Waits until the nodes have counted its first requests.
    ///
    /// # Errors
    /// When they count none.
    pub fn running(&self, cluster: &mut DemoCluster) -> Result<(), String> {
        let mut metrics = Vec::new();
        for node in cluster.live() {
            let status = cluster.status(node)?;
            metrics
                .extend(status.members.get(&status.node_id).and_then(|own| own.endpoints.get("ep.metrics").copied()));
        }
        wait_for("the first requests", GENEROUS, || {
            let mut counted = 0.0;
            for address in &metrics {
                let answer =
                    http::get(*address, "/metrics", Duration::from_secs(2)).map_err(|error| error.to_string())?;
                counted += requests_counted(&answer.text());
            }
            if counted >= FIRST_REQUESTS { Ok(()) } else { Err(format!("{counted} so far\n{}", self.process.tail())) }
        })
    }

    /// Whether it has requests left to send.
    pub fn is_running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When a request was lost or an epoch went back: it ends with another code than 0.
    pub fn finish(mut self) -> Result<Report, String> {
        let status = self.process.wait(self.length + GENEROUS)?;
        let lines: Vec<_> = self.process.lines().into_iter().map(|line| line.text).collect();
        let said = lines.join("\n");
        if !status.success() {
            return Err(format!("the client ended with {status}:\n{said}\n{}", self.process.tail()));
        }
        Report::read(&said).ok_or_else(|| format!("the client's report lacks something: {said}"))
    }
}

/// The sum over `cf_cluster_requests` in a page of metrics.
fn requests_counted(page: &str) -> f64 {
    series(page).map(|(_, count)| count).sum()
}

/// The series of `cf_cluster_requests`: whether the request was passed on, and the count.
fn series(page: &str) -> impl Iterator<Item = (bool, f64)> + '_ {
    let lines = page.lines().filter_map(|line| line.strip_prefix("cf_cluster_requests{"));
    lines.filter_map(|line| {
        let (labels, count) = line.rsplit_once("} ")?;
        let label = |name: &str| labels.split(',').find_map(|label| label.strip_prefix(name));
        Some((label("node=")? != label("destination=")?, count.parse().ok()?))
    })
}

/// Requests that the nodes of a cluster have counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// All that came in.
    pub all: u64,
    /// Those that another node than the one they came to had to serve.
    pub passed_on: u64,
}

impl Counted {
    /// What the live nodes count by now.
    ///
    /// # Errors
    /// When one shows no metrics.
    pub fn at(cluster: &mut DemoCluster) -> Result<Self, String> {
        let (mut all, mut passed_on) = (0.0, 0.0);
        for node in cluster.live() {
            for (passed, count) in series(&cluster.get(node, "/metrics")?.text()) {
                all += count;
                passed_on += if passed { count } else { 0.0 };
            }
        }
        let whole = |count: f64| format!("{count:.0}").parse().map_err(|error| format!("{count}: {error}"));
        Ok(Self { all: whole(all)?, passed_on: whole(passed_on)? })
    }

    /// What was counted after `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self { all: self.all - before.all, passed_on: self.passed_on - before.passed_on }
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests came in, {} were passed on", self.all, self.passed_on)
    }
}

impl Report {
    fn read(said: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(said).ok()?;
        let nodes = json["nodes"].as_object()?;
        let slowest = nodes.values().filter_map(|node| node["max_ms"].as_f64()).fold(0.0, f64::max);
        Some(Self {
            total: json["total"].as_u64()?,
            retries: json["retries"].as_u64()?,
            slowest: Duration::from_secs_f64(slowest / 1e3),
            nodes: nodes.len(),
            direct: json["client"]["direct"].as_u64()?,
            passed_on: json["client"]["passed_on"].as_u64()?,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slowest = self.slowest.as_secs_f64() * 1e3;
        write!(
            f,
            "{} requests by {} nodes, {} tried again, slowest {slowest:.0} ms",
            self.total, self.nodes, self.retries
        )
    }
}
