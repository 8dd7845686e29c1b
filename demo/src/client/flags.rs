//! The client's flags.

use std::time::Duration;

use clap::Parser;
use funk::client::Seed;
use funk::discovery::JoinAddress;
use funk::id::ClusterName;
use funk_cli::{KeyFlags, TlsFlags};

use crate::flags::{addresses, boolean, duration};

/// Sends demo requests to a cluster and ends with a table per serving node.
#[derive(Clone, Debug, Parser)]
#[command(name = "client", version)]
pub struct ClientFlags {
    /// Name of the cluster
    #[arg(long, env = "FUNK_CLUSTER_NAME", value_name = "NAME", default_value = "clusterfunk")]
    pub cluster_name: ClusterName,
    /// Serf address of a node, repeatable
    #[arg(long, env = "FUNK_JOIN", value_name = "HOST:PORT", value_delimiter = ',')]
    pub join: Vec<JoinAddress>,
    /// Look for nodes by mDNS if there is no --join
    #[arg(long, env = "FUNK_ZEROCONF", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        default_value = "true", action = clap::ArgAction::Set, value_parser = boolean())]
    pub zeroconf: bool,
    /// Requests to send in all
    #[arg(long, env = "FUNK_REPEATS", value_name = "N", default_value_t = 1_000)]
    pub repeats: u64,
    /// Time to keep sending, whatever --repeats says
    #[arg(long, env = "FUNK_DURATION", value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Pause of each worker between two requests
    #[arg(long, env = "FUNK_SLEEP", value_name = "TIME", default_value = "0ms", value_parser = duration)]
    pub sleep: Duration,
    /// Workers that send at the same time
    #[arg(long, env = "FUNK_CONCURRENCY", value_name = "N", default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub concurrency: u32,
    /// Requests per second over all workers [default: as fast as they come back]
    #[arg(long, env = "FUNK_RATE", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
    /// Try again on another node, until 5 s after the first try
    #[arg(long, env = "FUNK_RETRY", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        default_value = "true", action = clap::ArgAction::Set, value_parser = boolean())]
    pub retry: bool,
    /// Whom the client is to the cluster, and whom it believes
    #[command(flatten)]
    pub tls: TlsFlags,
    /// The keys of gossip
    #[command(flatten)]
    pub gossip: KeyFlags,
    /// End with a JSON object instead of the table
    #[arg(long, env = "FUNK_JSON", value_parser = boolean())]
    pub json: bool,
}

impl ClientFlags {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// One line that names the flag.
    pub fn check(&self) -> Result<(), String> {
        if self.join.is_empty() && !self.zeroconf {
            return Err("--zeroconf=false leaves no way to find a node: give --join HOST:PORT".into());
        }
        self.gossip.load()?;
        self.tls.files().map(drop)
    }

    /// Where a first node may be.
    pub fn seeds(&self) -> Vec<Seed> {
        if self.join.is_empty() {
            return addresses().into_iter().map(Seed::Mdns).collect();
        }
        self.join.iter().cloned().map(Seed::Gossip).collect()
    }
}
