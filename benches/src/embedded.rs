//! A node inside a tool's own program, as a user's service has it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use funk_io::{Cluster, DataDir, Options, Sockets, StateMachine, start};
use funk_proto::NodeConfig;
use funk_tokio::Tokio;

/// How such a node is started.
#[derive(clap::Args, Debug)]
pub struct Embedded {
    /// Its name.
    #[arg(long)]
    pub name: String,
    /// Its gossip address; the other sockets take free ports of the same host.
    #[arg(long)]
    pub serf: SocketAddr,
    /// Gossip addresses of others.
    #[arg(long)]
    pub join: Vec<funk_io::discovery::JoinAddress>,
    /// Begins the cluster.
    #[arg(long)]
    pub bootstrap: bool,
    /// Where it keeps the log.
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// Where its own socket is, and those of the others.
    #[arg(long)]
    pub dir: PathBuf,
}

impl Embedded {
    /// Where the program answers questions.
    pub fn socket(&self) -> PathBuf {
        self.dir.join(format!("{}.sock", self.name))
    }

    /// Starts it, inside a tokio runtime, in the cluster `cluster` of so many shards.
    ///
    /// # Errors
    /// Why it cannot run.
    pub fn start(
        &self,
        cluster: &str,
        shards: u32,
        state_machine: Option<Box<dyn StateMachine>>,
    ) -> Result<Cluster, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let any = SocketAddr::new(self.serf.ip(), 0);
        let sockets = Sockets::bind(self.serf, any, any).map_err(|error| text(&error))?;
        let raft = sockets.raft_address().map_err(|error| text(&error))?;
        let liveness = sockets.liveness_address().map_err(|error| text(&error))?;
        let name = self.name.parse().map_err(|error| text(&error))?;
        let cluster = cluster.parse().map_err(|error| text(&error))?;
        let mut config = NodeConfig::new(name, cluster, self.serf, raft, liveness);
        config.bootstrap = self.bootstrap;
        config.shards = shards;
        let mut options = Options::new(config, sockets);
        options.discovery.join.clone_from(&self.join);
        options.state_machine = state_machine;
        if let Some(path) = &self.data_dir {
            options = options.with_data(DataDir::open(path).map_err(|error| text(&error))?);
        }
        start::<Tokio>(options).map_err(|error| text(&error))
    }
}

/// A program that checks a cluster of processes of its own: started with `node`, it is one of them.
#[derive(Parser, Debug)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments<N: Args, C: Args> {
    #[command(subcommand)]
    node: Option<Part<N>>,
    #[command(flatten)]
    check: C,
}

#[derive(Subcommand, Debug)]
enum Part<N: Args> {
    /// One node of the cluster under test.
    Node(N),
}

/// Runs such a program: `node` runs a node to its end, `check` gets the path of
/// the program and says whether every promise was kept.
pub fn main<N: Args, C: Args>(
    node: fn(&N) -> Result<(), String>,
    check: fn(&C, &Path) -> Result<bool, String>,
) -> ExitCode {
    let arguments = Arguments::<N, C>::parse();
    let result = match &arguments.node {
        Some(Part::Node(arguments)) => node(arguments).map(|()| true),
        None => {
            let program = std::env::current_exe().map_err(|error| error.to_string());
            program.and_then(|program| check(&arguments.check, &program))
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
