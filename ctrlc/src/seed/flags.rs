//! The seed's flags.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;
use funk_cli::{AdvertiseIp, KeyFlags, LogFlags, addresses, advertised, boolean, name_of};
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
    /// IP that is bound, and that others are told unless --advertise says otherwise [default: the first IPv4 that others can reach, else 127.0.0.1]
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
    /// What others are told, where it is not what is bound
    #[command(flatten)]
    pub advertise: AdvertiseIp,
    /// What others are told of --serf-endpoint
    #[arg(long, env = "FUNK_ADVERTISE_SERF", value_name = "HOST:PORT")]
    pub advertise_serf: Option<String>,
    /// What others are told of --http
    #[arg(long, env = "FUNK_ADVERTISE_HTTP", value_name = "HOST:PORT", requires = "http")]
    pub advertise_http: Option<String>,
    /// Further names that the status page answers to, besides addresses, localhost and this machine's name
    #[arg(long, env = "FUNK_HTTP_HOST", value_name = "NAME", value_delimiter = ',')]
    pub http_host: Vec<String>,
    /// File of the members' addresses: joined at start, rewritten when they change
    #[arg(long, env = "FUNK_SNAPSHOT", value_name = "FILE")]
    pub snapshot: Option<PathBuf>,
    /// The keys of gossip
    #[command(flatten)]
    pub gossip: KeyFlags,
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
        let all = self.advertise.advertise.is_some();
        let tells_serf = all || self.advertise_serf.is_some();
        let interface = self.interface.filter(|_| self.serf_endpoint.is_none());
        let interface = interface.map(|ip| ("--interface", ip, ip.to_string(), tells_serf));
        let serf = self.serf_endpoint.map(|at| ("--serf-endpoint", at.ip(), at.to_string(), tells_serf));
        let tells_http = all || self.advertise_http.is_some();
        let http = self.http.map(|at| ("--http", at.ip(), at.to_string(), tells_http));
        for (flag, ip, given, is_told) in [interface, serf, http].into_iter().flatten() {
            if ip.is_unspecified() && !is_told {
                return Err(format!(
                    "{flag} {given} is no address that others can reach: give one of this machine, or --advertise with what others are to use"
                ));
            }
        }
        Ok(())
    }

    /// What others are told of gossip and of the page, which are bound at these addresses. Names are looked up.
    ///
    /// # Errors
    /// One line that names the flag.
    pub fn advertised(&self) -> Result<Advertised, String> {
        let one = |flag, text: &Option<String>| text.as_ref().map(|text| advertised(flag, text)).transpose();
        Ok(Advertised {
            ip: self.advertise.ip()?,
            serf: one("--advertise-serf", &self.advertise_serf)?,
            http: one("--advertise-http", &self.advertise_http)?,
        })
    }

    /// Names that the page answers to, besides addresses, localhost and this machine's name.
    pub fn page_names(&self) -> impl Iterator<Item = String> + '_ {
        let told = [&self.advertise.advertise, &self.advertise_http].into_iter().flatten();
        self.http_host.iter().map(String::as_str).chain(told.filter_map(|text| name_of(text))).map(str::to_owned)
    }

    /// The IP that is bound.
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

/// What others are told, where it is not what is bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advertised {
    ip: Option<IpAddr>,
    serf: Option<SocketAddr>,
    http: Option<SocketAddr>,
}

impl Advertised {
    /// What others are told of gossip, which is bound at this address.
    pub fn serf(&self, bound: SocketAddr) -> SocketAddr {
        self.told(self.serf, bound)
    }

    /// What others are told of the page, which is bound at this address.
    pub fn http(&self, bound: SocketAddr) -> SocketAddr {
        self.told(self.http, bound)
    }

    fn told(&self, given: Option<SocketAddr>, bound: SocketAddr) -> SocketAddr {
        let told = given.unwrap_or(SocketAddr::new(self.ip.unwrap_or(bound.ip()), 0));
        SocketAddr::new(told.ip(), if told.port() == 0 { bound.port() } else { told.port() })
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
    fn others_are_told_what_is_advertised_else_what_is_bound() {
        let bound = SocketAddr::from(([0, 0, 0, 0], 7));
        let told = |line: &str| {
            let told = parse(line).unwrap().advertised().unwrap();
            (told.serf(bound).to_string(), told.http(bound).to_string())
        };
        let line = "--interface 0.0.0.0 --http 0.0.0.0:80 --advertise 192.0.2.1";
        assert_eq!(told(line), ("192.0.2.1:7".into(), "192.0.2.1:7".into()));
        let line = "--serf-endpoint 0.0.0.0:7 --advertise-serf 192.0.2.2:9";
        assert_eq!(told(line), ("192.0.2.2:9".into(), bound.to_string()));
        assert!(parse("--advertise-serf 0.0.0.0:9").unwrap().advertised().is_err());
        assert!(parse("--http 0.0.0.0:80 --advertise-serf 192.0.2.2:9").is_err(), "nobody is told where the page is");
    }

    #[test]
    fn a_seed_of_every_cluster_is_not_found_by_the_name_of_one() {
        assert!(parse("").unwrap().uses_mdns());
        assert!(!parse("--every-cluster").unwrap().uses_mdns());
        assert!(parse("--every-cluster --cluster-name a").is_err());
    }
}
