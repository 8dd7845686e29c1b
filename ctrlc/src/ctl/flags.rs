//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use funk_cli::{Given, KeyFlags, TlsFlags, boolean, duration, given_key};
use funk_io::discovery::JoinAddress;
use funk_proto::GossipKeys;
use funk_proto::id::{ClusterName, NodeName};
use funk_tls::{Role, TrustDomain};

use super::change::{Change, Pin, Shards};
use super::health::HealthFlags;
use super::node::Dial;
use super::screen::ColorChoice;

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Tables for people.
    Text,
    /// One JSON object.
    Json,
}

/// Manages a cluster, through any of its nodes.
#[derive(Clone, Debug, Parser)]
#[command(name = "ctrlc", version, arg_required_else_help = false)]
pub struct CtrlFlags {
    /// Name of the cluster [default: clusterfunk]
    #[arg(
        short = 'n',
        long,
        global = true,
        help_heading = "Finding the cluster",
        env = "FUNK_CLUSTER_NAME",
        value_name = "NAME"
    )]
    pub cluster_name: Option<ClusterName>,
    /// Look for a node by mDNS if there is neither --endpoint nor --join
    #[arg(short = 'z', long, global = true, help_heading = "Finding the cluster", env = "FUNK_ZEROCONF", value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "true", action = clap::ArgAction::Set,
        value_parser = boolean())]
    pub zeroconf: bool,
    /// Management endpoint of a node
    #[arg(
        short = 'e',
        long,
        global = true,
        help_heading = "Finding the cluster",
        env = "FUNK_ENDPOINT",
        value_name = "HOST:PORT"
    )]
    pub endpoint: Option<JoinAddress>,
    /// Serf address of a node, which is asked for a management endpoint; repeatable
    #[arg(
        long,
        global = true,
        help_heading = "Finding the cluster",
        env = "FUNK_JOIN",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub join: Vec<JoinAddress>,
    /// Gossip key, 16, 24 or 32 bytes in base64: for --join in a pool that encrypts gossip
    #[arg(
        long,
        global = true,
        help_heading = "Finding the cluster",
        env = "FUNK_ENCRYPT",
        value_name = "KEY",
        hide_env_values = true,
        value_parser = given_key,
        conflicts_with = "keyring_file"
    )]
    pub encrypt: Option<Given>,
    /// File with the gossip keys, a JSON array as Serf has it
    #[arg(long, global = true, help_heading = "Finding the cluster", env = "FUNK_KEYRING_FILE", value_name = "FILE")]
    pub keyring_file: Option<PathBuf>,
    /// Use TLS, which --tls-cert does too
    #[arg(short = 'T', long, global = true, help_heading = "TLS", env = "FUNK_TLS", value_parser = boolean())]
    pub tls: bool,
    /// Authorities to trust, as --tls-ca
    #[arg(short = 'C', long, global = true, help_heading = "TLS", env = "FUNK_CERT_FILE", value_name = "FILE")]
    pub cert_file: Option<PathBuf>,
    /// Id of the node that the certificate at --endpoint must name
    #[arg(short = 'H', long, global = true, help_heading = "TLS", env = "FUNK_HOSTNAME_OVERRIDE", value_name = "NAME")]
    pub hostname_override: Option<String>,
    /// This program's certificate
    #[arg(long, global = true, help_heading = "TLS", env = "FUNK_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, global = true, help_heading = "TLS", env = "FUNK_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// The authorities that are believed
    #[arg(long, global = true, help_heading = "TLS", env = "FUNK_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// text or json
    #[arg(
        long,
        global = true,
        help_heading = "Output",
        env = "FUNK_OUTPUT",
        value_enum,
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub output: OutputFormat,
    /// When text has colors
    #[arg(
        long,
        global = true,
        help_heading = "Output",
        env = "FUNK_COLOR",
        value_enum,
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub color: ColorChoice,
    /// Overall time limit, at most 60s
    #[arg(long, global = true, env = "FUNK_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub timeout: Duration,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Whether the cluster serves, and what the asked node sees
    ///
    /// Exits with 1 while there is no majority.
    Status,
    /// The nodes, in Raft and in gossip
    ///
    /// Exits with 1 while there is no majority.
    Nodes,
    /// The endpoints of all live nodes
    Endpoints {
        /// Show only those whose node or name contains this
        filter: Option<String>,
    },
    /// Add, remove or drain a node
    #[command(subcommand, arg_required_else_help = false)]
    Node(NodeCommand),
    /// How many shards each node owns, or would own; and pins
    ///
    /// Exits with 1 while there is no majority.
    Shards {
        /// Say what this change would move, and change nothing: drain=ID, remove=ID, add=ID or add=ID,WEIGHT, weight=ID,N,
        /// pin=0-99,ID, unpin=0-99 or none
        #[arg(long, value_name = "CHANGE", conflicts_with_all = ["pin", "unpin"])]
        plan: Option<Change>,
        /// Pin shards to a node: 0-99,ID
        #[arg(long, value_name = "SHARDS,ID", conflicts_with = "unpin")]
        pin: Option<Pin>,
        /// Free pinned shards: 0-99
        #[arg(long, value_name = "SHARDS")]
        unpin: Option<Shards>,
    },
    /// Say what a change would move, and change nothing; as `shards --plan`
    Plan {
        /// drain=ID, remove=ID, add=ID or add=ID,WEIGHT, weight=ID,N, pin=0-99,ID, unpin=0-99 or none
        change: Change,
    },
    /// Pin shards to a node; as `shards --pin`
    Pin {
        /// 7, or 0-99
        shards: Shards,
        /// The node's id
        id: NodeName,
    },
    /// Free pinned shards; as `shards --unpin`
    Unpin {
        /// 7, or 0-99
        shards: Shards,
    },
    /// Make another voter lead
    StepDown,
    /// How to bring back a cluster that lost its majority; with --from, do it
    Recover {
        /// The survivor that continues alone, as the cluster's next generation
        #[arg(long, value_name = "ID")]
        from: Option<NodeName>,
    },
    /// Ask every node, and say what is wrong
    ///
    /// Exits with 0 for green, 1 for yellow, 2 for red, 3 if it could not tell.
    #[command(visible_alias = "diag")]
    Doctor,
    /// List or change the gossip keys of all live members
    ///
    /// Exits with 1, naming them, if some did not answer or refused.
    #[command(subcommand, arg_required_else_help = false)]
    Keys(KeysCommand),
    /// Make certificates for development
    #[command(subcommand, arg_required_else_help = false)]
    Tls(TlsCommand),
    /// Whether a node's page says that it is well
    ///
    /// Exits with 0 if it does, else with 1: for health checks of containers.
    Health(HealthFlags),
    /// Write a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What to do with a node.
#[derive(Clone, Debug, Subcommand)]
pub enum NodeCommand {
    /// Admit a node that is in gossip
    Add {
        /// Its id
        id: NodeName,
    },
    /// Remove a member; a live one is drained first
    Rm {
        /// Its id
        id: NodeName,
    },
    /// Move all shards away from a member, which stays one
    Drain {
        /// Its id; in a node's own environment, that node's
        #[arg(env = "FUNK_NODE_ID")]
        id: NodeName,
        /// Wait for so long afterwards, whatever came of it: load balancers hear meanwhile that the node goes
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
        linger: Duration,
    },
}

/// What to do about gossip keys.
#[derive(Clone, Debug, Subcommand)]
pub enum KeysCommand {
    /// Which keys each member has, by their ids: that which encrypts first
    List,
    /// A new key for all: install it, encrypt with it, remove all others
    Rotate {
        /// The key, 16, 24 or 32 bytes in base64; - reads it from standard input [default: the leader draws one]
        #[arg(value_name = "KEY")]
        key: Option<String>,
    },
    /// Install a key, which opens what others encrypt with it
    Install {
        /// The key, 16, 24 or 32 bytes in base64; - reads it from standard input [default: the leader draws one]
        #[arg(value_name = "KEY")]
        key: Option<String>,
    },
    /// Encrypt with an installed key
    Use {
        /// Its id, or the beginning of it
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Forget a key that nobody encrypts with any more
    Remove {
        /// Its id, or the beginning of it
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// What to do about certificates.
#[derive(Clone, Debug, Subcommand)]
pub enum TlsCommand {
    /// Make an authority: DIR/ca.pem and DIR/ca-key.pem
    Init {
        /// Where to; it is made if it is missing
        dir: PathBuf,
        /// The trust domain of all its certificates
        #[arg(long, value_name = "DOMAIN", default_value = "funk.local")]
        trust_domain: TrustDomain,
        /// Days until it expires
        #[arg(long, value_name = "DAYS", default_value = "3650", value_parser = clap::value_parser!(u32).range(1..=36500))]
        days: u32,
    },
    /// Make a certificate: DIR/NAME.pem and DIR/NAME-key.pem
    Issue {
        /// node, operator, observer or client
        role: Role,
        /// The node's id, or the name of a person or program
        name: NodeName,
        /// Where the authority is, and where the files go
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
        /// Days until it expires
        #[arg(long, value_name = "DAYS", default_value = "365", value_parser = clap::value_parser!(u32).range(1..=36500))]
        days: u32,
    },
}

impl CtrlFlags {
    /// Refuses what is not built yet, and what cannot work.
    ///
    /// # Errors
    /// One line that names the flag.
    pub fn check(&self) -> Result<(), String> {
        self.credentials()?;
        let finds = match &self.command {
            Command::Recover { from: None } | Command::Completions { .. } | Command::Tls(_) => false,
            Command::Health(health) => health.whole(self.tls_cert.is_some()).map(|_| false)?,
            _ => true,
        };
        if finds && !self.zeroconf && self.endpoint.is_none() && self.join.is_empty() {
            return Err("--zeroconf=false leaves no way to find a node: give --endpoint or --join HOST:PORT".into());
        }
        if self.timeout.is_zero() {
            return Err("--timeout 0s leaves no time: give more".into());
        }
        self.gossip_keys().map(drop)
    }

    /// The keys of gossip; `None`: it is not encrypted.
    ///
    /// # Errors
    /// One line that names the flag.
    pub fn gossip_keys(&self) -> Result<Option<GossipKeys>, String> {
        let (encrypt, keyring_file) = (self.encrypt.clone(), self.keyring_file.clone());
        KeyFlags { encrypt, keyring_file, gossip_verify_incoming: true, gossip_verify_outgoing: true }.load()
    }

    fn credentials(&self) -> Result<TlsFlags, String> {
        let ca = self.tls_ca.clone().or_else(|| self.cert_file.clone());
        let tls = TlsFlags { tls_cert: self.tls_cert.clone(), tls_key: self.tls_key.clone(), tls_ca: ca };
        let files = tls.files()?;
        match (files, self.tls, &self.hostname_override) {
            (None, true, _) => Err("--tls needs --tls-cert, --tls-key and --tls-ca".into()),
            (None, _, Some(_)) => Err("--hostname-override needs --tls-cert, --tls-key and --tls-ca".into()),
            _ => Ok(tls),
        }
    }

    /// How nodes are called.
    pub(super) fn dial(&self) -> Result<Dial, String> {
        let tls = self.credentials()?.load()?;
        if let (Some(tls), Some(name)) = (&tls, &self.cluster_name)
            && tls.get().identity().cluster != *name
        {
            let identity = tls.get().identity().clone();
            return Err(format!("--cluster-name {name}, but --tls-cert is {identity}"));
        }
        Ok(Dial { tls, node: self.hostname_override.clone().filter(|_| self.endpoint.is_some()) })
    }

    /// The cluster whose nodes are looked for.
    pub fn cluster(&self) -> ClusterName {
        self.cluster_name.clone().unwrap_or_else(|| "clusterfunk".parse().expect("a legal name"))
    }

    /// What to try when nobody answers.
    pub(super) fn where_else(&self) -> &'static str {
        match (self.endpoint.is_some(), self.join.is_empty()) {
            _ if matches!(self.command, Command::Health(_)) => "check the address",
            (true, _) => "check --endpoint, or give another node's",
            (false, false) => "check --join, or give --endpoint HOST:PORT of a node",
            (false, true) => "give --endpoint or --join HOST:PORT of a node",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<CtrlFlags, String> {
        let words = std::iter::once("ctrlc").chain(line.split_whitespace());
        let flags = CtrlFlags::try_parse_from(words).map_err(|error| funk_cli::usage_line(&error))?;
        flags.check().map(|()| flags)
    }

    #[test]
    fn flags_stand_before_or_after_the_command() {
        for line in ["-n c -e 127.0.0.1:1 --output json node rm n1", "node rm n1 -n c -e 127.0.0.1:1 --output json"] {
            let flags = parse(line).unwrap();
            assert_eq!((flags.cluster().as_str(), flags.output), ("c", OutputFormat::Json));
            assert!(matches!(flags.command, Command::Node(NodeCommand::Rm { id }) if id.as_str() == "n1"));
        }
        assert!(parse("-z status").unwrap().zeroconf, "a flag without a value takes no command for one");
        let plain = parse("status").unwrap();
        assert_eq!((plain.timeout, plain.cluster().as_str()), (Duration::from_secs(5), "clusterfunk"));
    }

    #[test]
    fn tls_needs_all_its_files() {
        for (line, missing) in [
            ("-T status", "--tls-cert"),
            ("-C x status", "--tls-cert"),
            ("-H x status", "--tls-cert"),
            ("--tls-cert x status", "--tls-key"),
            ("--tls-cert x --tls-key x status", "--tls-ca"),
        ] {
            assert!(parse(line).unwrap_err().contains(missing), "{line}");
        }
        assert!(parse("--tls-cert x --tls-key x -C x status").is_ok());
    }

    #[test]
    fn wrong_usage_is_one_line_that_names_what_is_wrong() {
        for (line, said) in [
            ("", "subcommand"),
            ("nonsense", "nonsense"),
            ("node rm", "<ID>"),
            ("node rm a_b", "a_b"),
            ("status -e nowhere", "--endpoint"),
            ("status --join nowhere", "--join"),
            ("status --timeout 5", "--timeout"),
            ("status --timeout 0s", "--timeout"),
            ("shards --plan drain", "--plan"),
            ("shards --pin 0-9", "--pin"),
            ("status --output xml", "--output"),
            ("status -z=false", "--zeroconf"),
            ("completions cobol", "cobol"),
            ("pin 0-9", "<ID>"),
            ("node drain n1 --linger 5", "--linger"),
            ("health", "--http-endpoint"),
            ("health nowhere", "nowhere"),
            ("plan drain=", "<CHANGE>"),
            ("tls issue admin eve", "admin"),
            ("tls init d --trust-domain A", "--trust-domain"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(said) && !error.contains('\n'), "{line}: {error}");
        }
        assert!(parse("-z=false recover").is_ok(), "it needs no node");
        assert!(parse("-z=false health http://n1:80/readyz").is_ok(), "it looks for none");
    }
}
