//! A small sharded service on funk's handle: it writes to the store under guards.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use funk_io::{Cluster, ShardGuard};
use funk_proto::id::ShardId;

use super::record::Held;
use super::{Plant, SHARDS, boot_time};
use crate::embedded::Embedded;
use crate::lines::{self, Asker};

/// The watcher looks at its guards this often.
const LOOK: Duration = Duration::from_millis(1);
/// The watcher gives a guard back after so many nanoseconds, so that moves need not wait for it.
const HOLD: u64 = 20_000_000;
/// A write that waits on its way to the store, as bytes in a socket do.
const DAWDLE: Duration = Duration::from_millis(50);
/// One write of a shard in so many waits.
const DAWDLES: u64 = 3;

/// How a node is started.
#[derive(clap::Args, Debug)]
pub struct Node {
    /// The node itself.
    #[command(flatten)]
    pub embedded: Embedded,
    /// The file for its times under guards.
    #[arg(long)]
    pub record: PathBuf,
    /// The promise to break.
    #[arg(long, value_enum, default_value_t = Plant::None)]
    pub plant: Plant,
}

/// Runs a node until it stops by itself.
///
/// # Errors
/// Why it cannot run.
pub fn run(node: &Node) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let inside = runtime.enter();
    let cluster = node.embedded.start("ownership", SHARDS, None)?;
    drop(inside);
    let (sender, receiver) = channel();
    let watched = cluster.clone();
    let mut record = std::fs::File::create(&node.record).map_err(|error| error.to_string())?;
    let plant = node.plant;
    std::thread::spawn(move || watch(&watched, &receiver, &mut record, plant));
    serve(node, &cluster, &sender)?;
    Err(runtime.block_on(cluster.stopped()).to_string())
}

fn serve(node: &Node, cluster: &Cluster, sender: &Sender<Held>) -> Result<(), String> {
    let (cluster, sender, plant) = (cluster.clone(), sender.clone(), node.plant);
    let store = node.embedded.dir.join("store");
    lines::serve(&node.embedded.socket(), move || {
        let store = Asker::new(&store, None);
        let mut handler = Handler { cluster: cluster.clone(), store, sender: sender.clone(), plant };
        Some(move |question: &str| handler.answer(question))
    })
}

/// Serves one connection.
struct Handler {
    cluster: Cluster,
    store: Asker,
    sender: Sender<Held>,
    plant: Plant,
}

impl Handler {
    /// A question is `SHARD NUMBER`.
    fn answer(&mut self, question: &str) -> Option<String> {
        let (shard, number) = question.split_once(' ')?;
        self.write(shard.parse().ok()?, number.parse().ok()?).ok().map(str::to_owned)
    }

    fn write(&mut self, shard: u32, number: u64) -> std::io::Result<&'static str> {
        let Ok(guard) = self.cluster.guard(ShardId(shard)) else { return Ok("elsewhere") };
        let from = boot_time();
        // Of each shard and of each row of shards, so that some wait at every moment.
        if (number / u64::from(SHARDS) + u64::from(shard)).is_multiple_of(DAWDLES) {
            std::thread::sleep(DAWDLE);
        }
        let epoch = guard.epoch().0;
        if self.store.ask(&format!("{shard} {epoch} {number}"))? != "ok" {
            return Ok("stale");
        }
        let until = boot_time();
        if !holds(&guard, self.plant) {
            return Ok("late");
        }
        // The watcher ends with the process only.
        let _ = self.sender.send(Held { shard, epoch, from, until });
        Ok("ok")
    }
}

fn goes_on(plant: Plant) -> bool {
    matches!(plant, Plant::Guard | Plant::Store)
}

fn holds(guard: &ShardGuard, plant: Plant) -> bool {
    goes_on(plant) || guard.is_valid()
}

/// Takes every guard that it can get, again and again, and writes down how long it held each.
fn watch(cluster: &Cluster, handlers: &Receiver<Held>, record: &mut impl Write, plant: Plant) {
    let mut guards: BTreeMap<u32, (ShardGuard, u64, u64)> = BTreeMap::new();
    loop {
        let mut lines: String = handlers.try_iter().map(|held| held.line()).collect();
        for shard in 0..SHARDS {
            if let Some((guard, from, until)) = guards.get_mut(&shard) {
                let now = boot_time();
                let valid = holds(guard, plant);
                if valid {
                    *until = now;
                }
                if !valid || now - *from > HOLD {
                    lines += &Held { shard, epoch: guard.epoch().0, from: *from, until: *until }.line();
                    // A node that never asks never lets go either.
                    *from = now;
                    if !goes_on(plant) {
                        guards.remove(&shard);
                    }
                }
            } else if let Ok(guard) = cluster.guard(ShardId(shard)) {
                let now = boot_time();
                guards.insert(shard, (guard, now, now));
            }
        }
        if record.write_all(lines.as_bytes()).is_err() {
            std::process::exit(1);
        }
        std::thread::sleep(LOOK);
    }
}
