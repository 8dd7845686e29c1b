//! The flags of a node.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use funk::discovery::JoinAddress;
use funk::id::{ClusterName, NodeName};
use funk::io::{NodeConfig, default_interface};
use funk::{Ownership, Participation, StartError, Timing, TimingProfile};

use funk_cli::{KeyFlags, TlsFlags};
use funk_tls::Files;

use super::{AdvertiseFlags, LogFlags, boolean, duration};

/// Async runtimes a node can run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RuntimeName {
    /// Tokio.
    Tokio,
    /// Smol.
    Smol,
    /// async-std, which is discontinued.
    AsyncStd,
}

/// How nodes carry Raft and cluster traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// QUIC, which needs certificates.
    Quic,
}

/// What keeps a previous owner of a shard from having an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OwnershipName {
    /// Its lease, which ends before anyone else may serve.
    Leased,
    /// The service's store, which refuses older epochs: the dead are replaced at once.
    Fenced,
}

/// Which leases the cluster may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TimingName {
    /// 150 ms, up to 600 ms while machines or datagrams are slow.
    Auto,
    /// 60 ms.
    Fast,
    /// 150 ms.
    Lan,
    /// 600 ms.
    Shared,
    /// 1200 ms.
    Wan,
}

/// One node of a funk cluster, with the demo service on it.
#[derive(Clone, Debug, Parser)]
#[command(name = "demo", version)]
pub struct NodeFlags {
    /// Start a new cluster
    #[arg(long, env = "FUNK_BOOTSTRAP", value_parser = boolean())]
    pub bootstrap: bool,
    /// Id of the node that starts the cluster, the same on every node: that one does, unless it finds the cluster, which it joins then
    #[arg(long, env = "FUNK_BOOTSTRAP_NODE", value_name = "ID", requires = "node_id", conflicts_with_all = ["bootstrap", "recover"])]
    pub bootstrap_node: Option<NodeName>,
    /// Continue alone with what is in the data directory, when more than half of the voters are lost for good
    #[arg(long, env = "FUNK_RECOVER", value_parser = boolean(), requires = "data_dir", conflicts_with = "bootstrap")]
    pub recover: bool,
    /// Name of the cluster; clusters of different names never mix
    #[arg(long, env = "FUNK_CLUSTER_NAME", value_name = "NAME", default_value = "clusterfunk")]
    pub cluster_name: ClusterName,
    /// Stable name of the node, 1 to 28 of A-Z a-z 0-9 . - [default: 16 random hex digits]
    #[arg(long, env = "FUNK_NODE_ID", value_name = "ID")]
    pub node_id: Option<NodeName>,
    /// IP that every endpoint binds, and that others are told unless --advertise says otherwise [default: first usable IPv4, else 127.0.0.1]
    #[arg(long, env = "FUNK_INTERFACE", value_name = "ADDR")]
    pub interface: Option<IpAddr>,
    /// mDNS registration and discovery
    #[arg(long, env = "FUNK_ZEROCONF", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        default_value = "true", action = clap::ArgAction::Set, value_parser = boolean())]
    pub zeroconf: bool,
    /// Serf address to join, repeatable; a name joins every address it has, dns+srv://NAME those of its SRV records, exec:///PATH those that the program prints
    #[arg(long, env = "FUNK_JOIN", value_name = "HOST:PORT", value_delimiter = ',')]
    pub join: Vec<JoinAddress>,
    /// The leader adds nodes that appear in Serf by itself
    #[arg(long, env = "FUNK_AUTO_JOIN", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        default_value = "true", action = clap::ArgAction::Set, value_parser = boolean())]
    pub auto_join: bool,
    /// Directory for log and snapshots
    #[arg(long, env = "FUNK_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Number of shards, used only at bootstrap [default: 10000]
    #[arg(long, env = "FUNK_SHARDS", value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub shards: Option<u32>,
    /// What keeps a previous owner of a shard from having an effect, used only at bootstrap [default: leased]
    #[arg(long, env = "FUNK_OWNERSHIP", value_enum)]
    pub ownership: Option<OwnershipName>,
    /// Share of the shards relative to the other nodes
    #[arg(long, env = "FUNK_WEIGHT", value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub weight: u32,
    /// Maximum number of shards, while the nodes together have room for all
    #[arg(long, env = "FUNK_CAPACITY", value_name = "N")]
    pub capacity: Option<NonZeroU32>,
    /// Failure zone
    #[arg(long, env = "FUNK_ZONE", value_name = "NAME", default_value = "")]
    pub zone: String,
    /// Learner: owns shards, never votes
    #[arg(long, env = "FUNK_NON_VOTING", value_parser = boolean(), conflicts_with = "non_member")]
    pub non_voting: bool,
    /// Serf-only observer
    #[arg(long, env = "FUNK_NON_MEMBER", value_parser = boolean())]
    pub non_member: bool,
    /// Gossip, UDP and TCP
    #[arg(long, env = "FUNK_SERF_ENDPOINT", value_name = "HOST:PORT")]
    pub serf_endpoint: Option<SocketAddr>,
    /// Raft and cluster traffic
    #[arg(long, env = "FUNK_RAFT_ENDPOINT", value_name = "HOST:PORT")]
    pub raft_endpoint: Option<SocketAddr>,
    /// Management gRPC
    #[arg(long, env = "FUNK_MANAGEMENT_ENDPOINT", value_name = "HOST:PORT")]
    pub management_endpoint: Option<SocketAddr>,
    /// Internal cluster gRPC
    #[arg(long, env = "FUNK_CLUSTER_ENDPOINT", value_name = "HOST:PORT")]
    pub cluster_endpoint: Option<SocketAddr>,
    /// Heartbeats and leases, UDP
    #[arg(long, env = "FUNK_LIVENESS_ENDPOINT", value_name = "HOST:PORT")]
    pub liveness_endpoint: Option<SocketAddr>,
    /// The demo service
    #[arg(long, env = "FUNK_DEMO_ENDPOINT", value_name = "HOST:PORT")]
    pub demo_endpoint: Option<SocketAddr>,
    /// Status page and JSON
    #[arg(long, env = "FUNK_HTTP_ENDPOINT", value_name = "HOST:PORT")]
    pub http_endpoint: Option<SocketAddr>,
    /// Further names that the status page answers to, besides addresses, localhost and this machine's name
    #[arg(long, env = "FUNK_HTTP_HOST", value_name = "NAME", value_delimiter = ',')]
    pub http_host: Vec<String>,
    /// Prometheus metrics
    #[arg(long, env = "FUNK_METRICS_ENDPOINT", value_name = "HOST:PORT")]
    pub metrics_endpoint: Option<SocketAddr>,
    /// What others are told, where it is not what is bound
    #[command(flatten)]
    pub advertise: AdvertiseFlags,
    /// Which leases the cluster may have: fast 60ms, lan 150ms, shared 600ms, wan 1200ms, auto 150ms to 600ms as the network and the machines need
    #[arg(long, env = "FUNK_TIMING", value_enum, default_value = "auto")]
    pub timing: TimingName,
    /// Time between two heartbeats under the shortest lease, instead of the profile's [default: 20ms]
    #[arg(long, env = "FUNK_LIVENESS_INTERVAL", value_name = "TIME", value_parser = duration)]
    pub liveness_interval: Option<Duration>,
    /// A node is dead after interval × (retries + 0.5) of silence, instead of the profile's [default: 7]
    #[arg(long, env = "FUNK_LIVENESS_RETRIES", value_name = "N")]
    pub liveness_retries: Option<u32>,
    /// Silence after which a voter gives the leader up, instead of the profile's [default: 80ms]
    #[arg(long, env = "FUNK_LEADER_TIMEOUT", value_name = "TIME", value_parser = duration)]
    pub leader_timeout: Option<Duration>,
    /// Lease length, instead of the profile's; it never changes then, and is used only at bootstrap [default: 150ms]
    #[arg(long, env = "FUNK_LEASE", value_name = "TIME", value_parser = duration)]
    pub lease: Option<Duration>,
    /// Time without progress after which a moving shard is released without its state
    #[arg(long, env = "FUNK_ACK_TIMEOUT", value_name = "TIME", default_value = "500ms", value_parser = duration)]
    pub ack_timeout: Duration,
    /// How long a planned move waits for requests in flight; a stop takes at most this and one second
    #[arg(long, env = "FUNK_DRAIN_TIMEOUT", value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub drain_timeout: Duration,
    /// The keys of gossip
    #[command(flatten)]
    pub gossip: KeyFlags,
    /// Whom this node is to others, and whom it believes
    #[command(flatten)]
    pub tls: TlsFlags,
    /// TLS: names and serial numbers that are not believed all the same
    #[arg(long, env = "FUNK_TLS_DENY", value_name = "FILE", requires = "tls_cert")]
    pub tls_deny: Option<PathBuf>,
    /// Serve, and call, those too who speak no TLS, while a cluster goes over to it
    #[arg(long, env = "FUNK_TLS_PERMIT_PLAINTEXT", value_parser = boolean(), requires = "tls_cert")]
    pub tls_permit_plaintext: bool,
    /// Status page and metrics over HTTPS; without TLS they are not
    #[arg(long, env = "FUNK_HTTP_TLS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        default_value = "true", action = clap::ArgAction::Set, value_parser = boolean())]
    pub http_tls: bool,
    /// File with a token without which the status page and the metrics show nothing
    #[arg(long, env = "FUNK_HTTP_AUTH", value_name = "FILE")]
    pub http_auth: Option<PathBuf>,
    /// How nodes carry Raft and cluster traffic
    #[arg(long, env = "FUNK_TRANSPORT", value_enum, default_value = "tcp")]
    pub transport: Transport,
    /// A small child process tells the others at once when this one is killed
    #[arg(long, env = "FUNK_GUARD", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        default_value = "true", action = clap::ArgAction::Set, value_parser = boolean())]
    pub guard: bool,
    /// Async runtime
    #[arg(long, env = "FUNK_RUNTIME", value_enum, default_value = "tokio")]
    pub runtime: RuntimeName,
    /// What is logged, and how
    #[command(flatten)]
    pub logs: LogFlags,
}

impl NodeFlags {
    /// Refuses what is not built yet, and what cannot work.
    ///
    /// # Errors
    /// One line that names the flag.
    pub fn check(&self) -> Result<(), String> {
        let has_tls = self.files()?.is_some();
        if self.transport == Transport::Quic && !has_tls {
            return Err(
                "--transport quic needs --tls-cert, --tls-key and --tls-ca: QUIC has no streams without TLS".into()
            );
        }
        if self.transport == Transport::Quic && self.tls_permit_plaintext {
            return Err("--tls-permit-plaintext is for --transport tcp: QUIC has no streams without TLS".into());
        }
        self.check_addresses()?;
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut config = NodeConfig::new("n".parse().expect("a legal name"), self.cluster_name.clone(), at, at, at);
        config.zone.clone_from(&self.zone);
        config.timing = self.timing();
        config.check().map_err(|error| self.name_flag(&error.to_string()))
    }

    /// Whether others can be told where each endpoint is.
    fn check_addresses(&self) -> Result<(), String> {
        let unreachable = |flag, given: String, advertise| {
            Err(format!(
                "{flag} {given} is no address that others can reach: give one of this machine, or {advertise} with what others are to use"
            ))
        };
        for (flag, name, at) in self.endpoints() {
            if self.advertise.tells(name) {
                continue;
            }
            match (at, self.interface) {
                (Some(at), _) if at.ip().is_unspecified() => {
                    let advertise = format!("--advertise-{}", flag[2..].trim_end_matches("-endpoint"));
                    return unreachable(flag, at.to_string(), advertise);
                }
                (None, Some(ip)) if ip.is_unspecified() => {
                    return unreachable("--interface", ip.to_string(), "--advertise".into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The files of the credentials; `None` without TLS.
    ///
    /// # Errors
    /// One line that names the flag that is missing.
    pub fn files(&self) -> Result<Option<Files>, String> {
        Ok(self.tls.files()?.map(|files| Files { deny: self.tls_deny.clone(), ..files }))
    }

    /// The flag of each endpoint, the endpoint's name, and where it is to listen.
    pub fn endpoints(&self) -> [(&'static str, &'static str, Option<SocketAddr>); 8] {
        [
            ("--serf-endpoint", "ep.serf", self.serf_endpoint),
            ("--raft-endpoint", "ep.raft", self.raft_endpoint),
            ("--liveness-endpoint", "ep.liveness", self.liveness_endpoint),
            ("--management-endpoint", "ep.clusterfunk.management", self.management_endpoint),
            ("--cluster-endpoint", "ep.cluster", self.cluster_endpoint),
            ("--demo-endpoint", "ep.demo", self.demo_endpoint),
            ("--http-endpoint", "ep.httpConsole", self.http_endpoint),
            ("--metrics-endpoint", "ep.metrics", self.metrics_endpoint),
        ]
    }

    /// Why a node did not start, and which flag to change.
    pub fn name_start(&self, error: &StartError) -> String {
        match error {
            StartError::Bind { endpoint, address, source } => {
                let endpoints = self.endpoints();
                let flag =
                    endpoints.iter().find(|(_, name, _)| name == endpoint).map_or(endpoint.as_str(), |found| found.0);
                format!("{flag} {address}: {source}")
            }
            StartError::Certificate(why) => format!("--tls-cert: {why}"),
            StartError::Store(error) => format!("--data-dir {error}"),
            StartError::Config(error) => self.name_flag(&error.to_string()),
            other => other.to_string(),
        }
    }

    /// Puts the flag in front of what the core says of its setting.
    fn name_flag(&self, error: &str) -> String {
        let flags = [
            ("liveness interval", "--liveness-interval"),
            ("liveness retries", "--liveness-retries"),
            ("leader timeout", "--leader-timeout"),
            ("the lease", "--lease"),
            ("lease", "--lease"),
            ("ack timeout", "--ack-timeout"),
            ("zone", "--zone"),
        ];
        let flag = flags.iter().find(|(setting, _)| error.starts_with(setting)).map_or("flags", |(_, flag)| *flag);
        format!("{flag}: {error}")
    }

    /// Whether this node is the one that `--bootstrap-node` names.
    pub fn is_first(&self) -> bool {
        self.bootstrap_node.is_some() && self.bootstrap_node == self.node_id
    }

    /// The ownership that was asked for.
    pub fn ownership(&self) -> Option<Ownership> {
        Some(match self.ownership? {
            OwnershipName::Leased => Ownership::Leased,
            OwnershipName::Fenced => Ownership::Fenced,
        })
    }

    /// Whether it votes, learns or only watches.
    pub fn participation(&self) -> Participation {
        match (self.non_voting, self.non_member) {
            (_, true) => Participation::NonMember,
            (true, false) => Participation::Learner,
            (false, false) => Participation::Full,
        }
    }

    /// Intervals and limits.
    pub fn timing(&self) -> Timing {
        let profile = Timing::of(match self.timing {
            TimingName::Auto => TimingProfile::Auto,
            TimingName::Fast => TimingProfile::Fast,
            TimingName::Lan => TimingProfile::Lan,
            TimingName::Shared => TimingProfile::Shared,
            TimingName::Wan => TimingProfile::Wan,
        });
        Timing {
            liveness_interval: self.liveness_interval.unwrap_or(profile.liveness_interval),
            liveness_retries: self.liveness_retries.unwrap_or(profile.liveness_retries),
            leader_timeout: self.leader_timeout.unwrap_or(profile.leader_timeout),
            lease: self.lease.unwrap_or(profile.lease),
            lease_max: self.lease.unwrap_or(profile.lease_max),
            ack_timeout: self.ack_timeout,
            ..profile
        }
    }

    /// The IP that endpoints bind.
    pub fn ip(&self) -> IpAddr {
        self.interface.unwrap_or_else(default_interface)
    }
}

#[cfg(test)]
mod tests {
    use super::super::usage_line;
    use super::*;

    fn parse(line: &str) -> Result<NodeFlags, String> {
        let words = std::iter::once("demo").chain(line.split_whitespace());
        let flags = NodeFlags::try_parse_from(words).map_err(|error| usage_line(&error))?;
        flags.check().map(|()| flags)
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let flags = parse("").unwrap();
        assert_eq!((flags.weight, flags.auto_join, flags.bootstrap), (1, true, false));
        assert_eq!((flags.shards, flags.ownership()), (None, None));
        assert_eq!(flags.timing(), Timing::default());
        assert_eq!(flags.timing(), Timing::default());
        assert_eq!(flags.runtime, RuntimeName::Tokio);
        assert!(flags.zeroconf && !parse("--zeroconf=false").unwrap().zeroconf);
        let joins = parse("--join a:1 --join b:2,dns+srv://c").unwrap().join;
        assert_eq!(joins.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a:1", "b:2", "dns+srv://c"]);
    }

    #[test]
    fn every_node_may_have_the_flag_that_names_the_first() {
        let is_first = |line: &str| parse(line).unwrap().is_first();
        assert!(is_first("--bootstrap-node n1 --node-id n1"));
        assert!(!is_first("--bootstrap-node n1 --node-id n2") && !is_first("--node-id n1"));
        assert!(parse("--bootstrap-node n1").unwrap_err().contains("--node-id"));
        assert!(parse("--bootstrap-node n1 --node-id n1 --bootstrap").unwrap_err().contains("--bootstrap"));
    }

    #[test]
    fn quic_needs_tls_on_every_stream() {
        let error = parse("--transport quic").unwrap_err();
        assert!(error.contains("--transport quic") && error.contains("--tls-cert"), "{error}");
        let tls = "--tls-cert a --tls-key b --tls-ca c";
        let error = parse(&format!("--transport quic {tls} --tls-permit-plaintext")).unwrap_err();
        assert!(error.contains("--tls-permit-plaintext"), "{error}");
        assert_eq!(parse(&format!("--transport quic {tls}")).unwrap().transport, Transport::Quic);
    }

    #[test]
    fn every_address_of_the_machine_may_be_bound_where_it_is_known_what_others_are_told() {
        let advertised = |line: &str| parse(line).unwrap().advertise.resolve().unwrap();
        let all = advertised("--interface 0.0.0.0 --advertise 192.0.2.1 --advertise-http localhost:80");
        assert_eq!(all.ip, Some([192, 0, 2, 1].into()));
        assert_eq!(all.endpoints, [("ep.httpConsole", ([127, 0, 0, 1], 80).into())]);
        assert_eq!(all.page_names, ["localhost"]);
        let one = advertised("--raft-endpoint 0.0.0.0:7 --advertise-raft 192.0.2.1:8");
        assert_eq!((one.ip, one.endpoints), (None, vec![("ep.raft", ([192, 0, 2, 1], 8).into())]));
        let error = parse("--advertise-raft no-such-host.invalid:7").unwrap().advertise.resolve().unwrap_err();
        assert!(error.starts_with("--advertise-raft "), "{error}");
    }

    #[test]
    fn wrong_values_give_one_line_that_names_the_flag() {
        for line in [
            "--shards 0",
            "--shards x",
            "--weight 0",
            "--capacity 0",
            "--node-id a_b",
            "--cluster-name ä",
            "--interface nowhere",
            "--interface 0.0.0.0",
            "--interface 0.0.0.0 --advertise-raft 192.0.2.1:7",
            "--raft-endpoint 0.0.0.0:7",
            "--raft-endpoint 0.0.0.0:7 --advertise-serf 192.0.2.1:7",
            "--serf-endpoint 1",
            "--timing slow",
            "--lease 10",
            "--lease 50ms",
            "--leader-timeout 1ms",
            "--liveness-interval 0ms",
            "--liveness-retries 0",
            "--ack-timeout 0s",
            "--runtime other",
            "--log-format xml",
            "--log-level loud",
            "--auto-join=maybe",
            "--zeroconf=maybe",
            "--join nowhere",
            "--join a:b",
            "--no-such-flag",
        ] {
            let error = parse(line).unwrap_err();
            assert!(!error.contains('\n'), "{error}");
            assert!(error.contains(line.split([' ', '=']).next().unwrap()), "{line}: {error}");
        }
    }
}
