//! All nodes are killed at once under load, and started again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::node::STARTED;
use super::writers::{self, PATIENCE};
use crate::clients::Clients;
use crate::lines::Asker;
use funk_tests::blackbox::cluster::GENEROUS;
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::{ports, scratch, wait_for};

/// Clients of each node.
const CLIENTS: usize = 2;

/// A node that starts so much later than the first may be held for dead by then, and its shards be given away.
const TOGETHER: Duration = Duration::from_millis(60);

/// A shard's owner and its epoch.
type Placed = (String, u64);

/// A cluster under test.
#[derive(Debug)]
pub struct Trial {
    program: PathBuf,
    dir: PathBuf,
    forgets: bool,
    addresses: Vec<SocketAddr>,
    nodes: Vec<Process>,
    writers: Clients<u64>,
}

/// What came of a round.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// From the last start until all nodes had one map.
    pub took: Duration,
    /// Numbers acknowledged since the beginning, all of which every node held.
    pub acknowledged: usize,
    /// Shards of nodes that started too late to keep them.
    pub moved: usize,
}

impl Trial {
    /// Starts so many nodes with data directories, as `program node ...`, and their clients.
    ///
    /// # Errors
    /// When they do not start.
    pub fn start(program: &Path, label: &str, nodes: usize, forgets: bool) -> Result<Self, String> {
        let dir = scratch(label)?;
        let addresses = (0..nodes).map(|_| ports::free()).collect::<Result<Vec<_>, _>>()?;
        let sockets: Vec<_> = (0..nodes).map(|node| dir.join(format!("n{node}.sock"))).collect();
        let writers = writers::start(&sockets, CLIENTS);
        let mut trial = Self { program: program.to_owned(), dir, forgets, addresses, nodes: Vec::new(), writers };
        for node in 0..nodes {
            let process = trial.node(node, node == 0)?;
            trial.nodes.push(process);
        }
        Ok(trial)
    }

    fn node(&self, node: usize, bootstrap: bool) -> Result<Process, String> {
        let name = format!("n{node}");
        let mut command = Command::new(&self.program);
        command.args(["node", "--name", &name, "--serf", &self.addresses[node].to_string(), "--dir"]).arg(&self.dir);
        command.arg("--data-dir").arg(self.dir.join(format!("data-{name}")));
        if bootstrap {
            command.arg("--bootstrap");
        } else if node > 0 {
            // Restarted nodes know their peers from their log; a new one asks the first.
            command.args(["--join", &self.addresses[0].to_string()]);
        }
        if self.forgets {
            command.arg("--forgets");
        }
        Process::start(&name, command, &self.dir)
    }

    fn ask(&self, node: usize, question: &str) -> Result<String, String> {
        let socket = self.dir.join(format!("n{node}.sock"));
        Asker::new(&socket, Some(PATIENCE)).ask(question).map_err(|error| error.to_string())
    }

    /// Waits until all nodes have one map, in which each of them owns its share.
    fn map(&self) -> Result<Vec<Placed>, String> {
        let one = wait_for("one map with all nodes", GENEROUS, || {
            let maps = (0..self.nodes.len()).map(|node| self.ask(node, "map")).collect::<Result<BTreeSet<_>, _>>()?;
            let first = maps.first().filter(|_| maps.len() == 1).ok_or_else(|| format!("{maps:?}"))?;
            let placed = first.split(' ').map(read).collect::<Option<Vec<_>>>().ok_or_else(|| first.clone())?;
            let mut shares = BTreeMap::<_, usize>::new();
            placed.iter().for_each(|(owner, _)| *shares.entry(owner).or_default() += 1);
            let (least, most) = (shares.values().min().copied(), shares.values().max().copied());
            let rests = shares.len() == self.nodes.len() && most <= least.map(|least| least + 1);
            if rests { Ok(placed) } else { Err(format!("{shares:?}")) }
        });
        one.map_err(|error| {
            let tails: Vec<_> = self.nodes.iter().map(Process::tail).collect();
            format!("{error}\n{}", tails.join("\n"))
        })
    }

    /// Kills all nodes once `writes` more numbers are acknowledged, and starts them again.
    ///
    /// # Errors
    /// When the map is another although all started together, an epoch went back, or an acknowledged number is gone.
    pub fn round(&mut self, writes: usize) -> Result<Round, String> {
        self.map()?;
        let had = self.writers.acknowledged().len();
        wait_for("numbers to be acknowledged", GENEROUS, || {
            let now = self.writers.acknowledged().len();
            if now >= had + writes { Ok(()) } else { Err(format!("{now} after {had}")) }
        })?;
        let before = self.map()?;
        for node in &self.nodes {
            node.signal(Signal::KILL);
        }
        for node in 0..self.nodes.len() {
            self.nodes[node].wait(GENEROUS)?;
            self.nodes[node] = self.node(node, false)?;
        }
        let starts = self.nodes.iter().map(|node| node.line(STARTED, GENEROUS)).collect::<Result<Vec<_>, _>>()?;
        let began = Instant::now();
        let (first, last) = (starts.iter().map(|line| line.at).min(), starts.iter().map(|line| line.at).max());
        // What a client heard before its node ended, and perhaps a little of afterwards.
        let acknowledged: BTreeSet<_> = self.writers.acknowledged().into_iter().collect();
        let after = self.map()?;
        let took = began.elapsed();
        let moved = moved(&before, &after)?;
        if moved > 0 && last < first.map(|first| first + TOGETHER) {
            return Err(format!("another map: {moved} shards moved"));
        }
        for node in 0..self.nodes.len() {
            self.holds(node, &acknowledged)?;
        }
        Ok(Round { took, acknowledged: acknowledged.len(), moved })
    }

    fn holds(&self, node: usize, acknowledged: &BTreeSet<u64>) -> Result<(), String> {
        // Committed and applied here after all that was acknowledged before.
        let propose = format!("propose {}", self.writers.fresh());
        wait_for("a number of the check's own", GENEROUS, || match self.ask(node, &propose)?.as_str() {
            "ok" => Ok(()),
            other => Err(other.to_owned()),
        })?;
        let numbers = self.ask(node, "ledger")?;
        let held: BTreeSet<u64> = numbers.split(' ').filter_map(|number| number.parse().ok()).collect();
        let lost: Vec<_> = acknowledged.difference(&held).take(10).collect();
        if lost.is_empty() { Ok(()) } else { Err(format!("n{node} lost {lost:?} of {} numbers", acknowledged.len())) }
    }
}

fn read(word: &str) -> Option<Placed> {
    let (owner, epoch) = word.split_once(':')?;
    Some((owner.to_owned(), epoch.parse().ok()?))
}

/// Shards with another owner than before; no epoch may go back, and another owner needs another epoch.
fn moved(before: &[Placed], after: &[Placed]) -> Result<usize, String> {
    let mut moved = 0;
    for (shard, (was, is)) in before.iter().zip(after).enumerate() {
        if is.1 < was.1 || (is.0 != was.0 && is.1 == was.1) {
            return Err(format!("shard {shard}: {is:?} came after {was:?}"));
        }
        moved += usize::from(is.0 != was.0);
    }
    Ok(moved)
}
