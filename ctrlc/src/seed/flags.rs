//! The seed's flags.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;
use funk_cli::{LogFlags, addresses, boolean};
use funk_io::discovery::JoinAddress;
use funk_proto::id::{ClusterName, NodeName};

/// A gossip-only node that others join through.
#[derive(Clone, Debug, Parser)]
#[command(name = "seed", version)]
pub struct SeedFlags {
    /// Name of the cluster; nodes of other names are rejected
    #[arg(long, env = "FUNK_CLUSTER_NAME", value_name = "NAME", default_value = "clusterfunk")]
    pub cluster_name: ClusterName,
    /// Accept nodes of every cluster name; no mDNS then, since it searches by name
    #[arg(long, env = "FUNK_EVERY_CLUSTER", value_parser = boolean(), conflicts_with = "cluster_name")]
    pub every_cluster: bool,
    /// Stable name of the node, 1 to 28 of A-Z a-z 0-9 . - [default: 16 random hex digits]
    #[arg(long, env = "FUNK_NODE_ID", value_name = "ID")]
    pub node_id: Option<NodeName>,
    /// IP that is bound and advertised [default: the first IPv4 that others can reach, else 127.0.0.1]
    #[arg(long, env = "FUNK_INTERFACE", value_name = "ADDR")]
    pub interface: Option<IpAddr>,
    /// Gossip, UDP and TCP [default: any free port of the interface]
    #[arg(long, env = "FUNK_SERF_ENDPOINT", value_name = "HOST:PORT")]
    pub serf_endpoint: Option<SocketAddr>,
    /// Serf address to join, repeatable; a name joins every address it has, dns+srv://NAME those of its SRV records, exec:///PATH those that the program prints
    #[arg(long, env = "FUNK_JOIN", value_name = "HOST:PORT", value_delimiter = ',')]
    pub join: Vec<JoinAddress>,
    /// mDNS registration and discovery
    #[arg(long, env = "FUNK_ZEROCONF", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        default_value = "true", action = clap::ArgAction::Set, value_parser = boolean())]
    pub zeroconf: bool,
    /// Status page
    #[arg(long, env = "FUNK_HTTP", value_name = "HOST:PORT")]
    pub http: Option<SocketAddr>,
    /// Further names that the status page answers to, besides addresses, localhost and this machine's name
    #[arg(long, env = "FUNK_HTTP_HOST", value_name = "NAME", value_delimiter = ',')]
    pub http_host: Vec<String>,
    /// File of the members' addresses: joined at start, rewritten when they change
    #[arg(long, env = "FUNK_SNAPSHOT", value_name = "FILE")]
    pub snapshot: Option<PathBuf>,
    /// What is logged, and how
    #[command(flatten)]
    pub logs: LogFlags,
}

impl SeedFlags {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// One line that names the flag.
    pub fn check(&self) -> Result<(), String> {
        let interface = self.interface.map(|ip| ("--interface", ip, ip.to_string()));
        let serf = self.serf_endpoint.map(|at| ("--serf-endpoint", at.ip(), at.to_string()));
        let http = self.http.map(|at| ("--http", at.ip(), at.to_string()));
        for (flag, ip, given) in [interface, serf, http].into_iter().flatten() {
            if ip.is_unspecified() {
                return Err(format!("{flag} {given} is no address that others can reach: give one of this machine"));
            }
        }
        Ok(())
    }

    /// The IP that is bound and advertised.
    pub fn ip(&self) -> IpAddr {
        let given = self.interface.or(self.serf_endpoint.map(|at| at.ip()));
        let usable = || addresses().into_iter().find(|ip| !ip.is_loopback()).map(IpAddr::V4);
        given.or_else(usable).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Whether mDNS is used: nodes of every cluster cannot be found by the name of one.
    pub fn uses_mdns(&self) -> bool {
        self.zeroconf && !self.every_cluster
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<SeedFlags, String> {
        let words = std::iter::once("seed").chain(line.split_whitespace());
        let flags = SeedFlags::try_parse_from(words).map_err(|error| funk_cli::usage_line(&error))?;
        flags.check().map(|()| flags)
    }

    #[test]
    fn wrong_values_give_one_line_that_names_the_flag() {
        for line in [
            "--interface 0.0.0.0",
            "--serf-endpoint 0.0.0.0:1",
            "--http 0.0.0.0:0",
            "--http [::]:8080",
            "--http x",
            "--join nowhere",
            "--node-id a_b",
            "--zeroconf=x",
        ] {
            let error = parse(line).unwrap_err();
            let flag = line.split([' ', '=']).next().unwrap();
            assert!(error.contains(flag) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_seed_of_every_cluster_is_not_found_by_the_name_of_one() {
        assert!(parse("").unwrap().uses_mdns());
        assert!(!parse("--every-cluster").unwrap().uses_mdns());
        assert!(parse("--every-cluster --cluster-name a").is_err());
    }
}
