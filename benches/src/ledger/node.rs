//! A node that proposes what it is told to, and says what it holds.

use funk_io::Cluster;
use funk_proto::id::ShardId;
use tokio::runtime::{Handle, Runtime};

use super::SHARDS;
use super::state::Ledger;
use crate::embedded::Embedded;
use crate::lines;

/// What a node says once it runs.
pub const STARTED: &str = "started";

/// How a node is started.
#[derive(clap::Args, Debug)]
pub struct Node {
    /// The node itself.
    #[command(flatten)]
    pub embedded: Embedded,
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
    let handler = Handler { cluster: cluster.clone(), ledger, runtime: runtime.handle().clone() };
    lines::serve(&node.embedded.socket(), move || {
        let handler = handler.clone();
        Some(move |question: &str| Some(handler.answer(question)))
    })?;
    println!("{STARTED}");
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
    /// A question is `propose NUMBER`, `ledger` or `map`.
    fn answer(&self, question: &str) -> String {
        match (question, question.strip_prefix("propose ")) {
            (_, Some(number)) => number.parse().map_or_else(|_| "what number?".to_owned(), |n| self.propose(n)),
            ("ledger", _) => words(self.ledger.numbers().iter()),
            ("map", _) => self.map(),
            _ => "what?".to_owned(),
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
