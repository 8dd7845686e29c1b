//! A node that proposes what it is told to, and says what it holds.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use funk_io::Cluster;
use funk_proto::id::ShardId;
use tokio::runtime::{Handle, Runtime};

use super::SHARDS;
use super::state::Ledger;
use crate::embedded::Embedded;

/// What a node says once it runs.
pub const STARTED: &str = "started";

/// How a node is started.
#[derive(clap::Args, Debug)]
pub struct Node {
    /// The node itself.
    #[command(flatten)]
    pub embedded: Embedded,
    /// Where its socket is.
    #[arg(long)]
    pub dir: PathBuf,
    /// It forgets one number in a hundred.
    #[arg(long)]
    pub forgets: bool,
}

/// Runs a node until it stops by itself.
///
/// # Errors
/// Why it cannot run.
pub fn run(node: &Node) -> Result<(), String> {
    let runtime = Runtime::new().map_err(|error| error.to_string())?;
    let inside = runtime.enter();
    let ledger = Ledger::new(node.forgets);
    let cluster = node.embedded.start("ledger", SHARDS, Some(Box::new(ledger.clone())))?;
    drop(inside);
    let path = node.dir.join(format!("{}.sock", node.embedded.name));
    // The socket of the life before, if there was one.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("{STARTED}");
    let handler = Handler { cluster: cluster.clone(), ledger, runtime: runtime.handle().clone() };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handler = handler.clone();
            std::thread::spawn(move || handler.serve(&stream));
        }
    });
    Err(runtime.block_on(cluster.stopped()).to_string())
}

/// Serves connections.
#[derive(Clone)]
struct Handler {
    cluster: Cluster,
    ledger: Ledger,
    runtime: Handle,
}

impl Handler {
    /// A line is a question: `propose NUMBER`, `ledger` or `map`.
    fn serve(&self, mut stream: &UnixStream) {
        let Ok(reading) = stream.try_clone() else { return };
        for line in BufReader::new(reading).lines().map_while(Result::ok) {
            let answer = match (line.as_str(), line.strip_prefix("propose ")) {
                (_, Some(number)) => number.parse().map_or_else(|_| "what number?".to_owned(), |n| self.propose(n)),
                ("ledger", _) => words(self.ledger.numbers().iter()),
                ("map", _) => self.map(),
                _ => "what?".to_owned(),
            };
            if stream.write_all(format!("{answer}\n").as_bytes()).is_err() {
                return;
            }
        }
    }

    /// `ok` once the number is committed and applied here.
    fn propose(&self, number: u64) -> String {
        match self.runtime.block_on(self.cluster.propose(Ledger::proposal(number))) {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// Of each shard `OWNER:EPOCH`, or `-`; a node without a lease has no map to go by.
    fn map(&self) -> String {
        if self.cluster.lease_until() <= self.cluster.now() {
            return String::new();
        }
        let routes = self.cluster.routes();
        words((0..SHARDS).map(|shard| match routes.owner(ShardId(shard)) {
            Some((node, epoch)) => format!("{}:{}", node.name, epoch.0),
            None => "-".to_owned(),
        }))
    }
}

fn words<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}
