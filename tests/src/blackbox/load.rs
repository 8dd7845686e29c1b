//! Clients that send requests while something happens to the cluster.

use std::process::Command;
use std::time::Duration;

use super::cluster::{DemoCluster, GENEROUS};
use super::process::Process;
use super::program;

/// Requests a second.
pub const RATE: u64 = 1_000;

/// A running client.
#[derive(Debug)]
pub struct Load {
    process: Process,
    length: Duration,
}

/// What the client said at its end.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its closing table, as printed.
    pub table: String,
}

impl Load {
    /// Starts `bin/client` against the cluster's live nodes for about this long.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(cluster: &mut DemoCluster, length: Duration) -> Result<Self, String> {
        let mut command = Command::new(program("client")?);
        command.env_clear();
        let repeats = u64::try_from(length.as_millis()).unwrap_or(u64::MAX).saturating_mul(RATE) / 1_000;
        command.args(["--cluster-name", cluster.name(), "--zeroconf=false"]);
        command.args(["--repeats", &repeats.to_string(), "--sleep", "1ms", "--concurrency", "64"]);
        for node in cluster.live() {
            command.args(["--join", &cluster.nodes[node].serf.to_string()]);
        }
        let process = Process::start("client", command, cluster.dir())?;
        Ok(Self { process, length })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When a request was lost or an epoch went back: it ends with another code than 0.
    pub fn finish(mut self) -> Result<Report, String> {
        let status = self.process.wait(self.length + GENEROUS)?;
        let lines: Vec<_> = self.process.lines().into_iter().map(|line| line.text).collect();
        let table = lines.join("\n");
        if status.success() {
            return Ok(Report { table });
        }
        Err(format!("the client ended with {status}:\n{table}\n{}", self.process.tail()))
    }
}
