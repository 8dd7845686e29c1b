//! Rounds of faults against nodes on hosts of their own.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::record::{overlaps, read};
use super::store::Store;
use super::writers::{self, Written};
use super::{Plant, SHARDS};
use crate::clients::Clients;
use funk_tests::blackbox::cluster::GENEROUS;
use funk_tests::blackbox::namespaces::Network;
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::{scratch, wait_for};

/// Nodes; the last has no data directory.
const NODES: usize = 3;
/// Clients.
const CLIENTS: usize = 8;
/// The port of gossip on each host.
const PORT: u16 = 7946;
/// A cut lasts no longer: everything has moved long before.
const CUT_MAX: Duration = Duration::from_secs(5);

/// What is done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGSTOP, and SIGCONT after the pause.
    Stop,
    /// Nothing reaches it or leaves it.
    Cut,
    /// Nothing reaches it.
    CutIn,
    /// Nothing leaves it.
    CutOut,
    /// SIGKILL, and a new start.
    Kill,
}

/// All faults, in the order of the rounds.
pub const FAULTS: [Fault; 5] = [Fault::Stop, Fault::Cut, Fault::Kill, Fault::CutIn, Fault::CutOut];

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Stale writes that the store refused.
    pub refused: u64,
    /// Changes of a shard's epoch that writes met.
    pub moves: usize,
    /// Times in which a process held a guard.
    pub held: usize,
    /// Stale writes that the store took.
    pub stale_accepted: u64,
    /// Guards that two processes held at one time.
    pub overlaps: Vec<String>,
    /// Acknowledged writes that the store does not hold, by shard and number.
    pub lost: Vec<(u32, u64)>,
}

impl Outcome {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.stale_accepted == 0 && self.overlaps.is_empty() && self.lost.is_empty()
    }
}

/// A cluster under test.
#[derive(Debug)]
pub struct Trial {
    program: PathBuf,
    dir: PathBuf,
    plant: Plant,
    store: Store,
    nodes: Vec<Process>,
    starts: usize,
    // The hosts go after the processes on them.
    network: Network,
}

impl Trial {
    /// Starts the nodes, as `program node ...`.
    ///
    /// # Errors
    /// When they do not start.
    pub fn start(program: &Path, label: &str, plant: Plant) -> Result<Self, String> {
        let dir = scratch(label)?;
        let store = Store::start(&dir.join("store"), plant)?;
        let mut network = Network::new()?;
        for _ in 0..NODES {
            network.add()?;
        }
        let program = program.to_owned();
        let mut trial = Self { program, dir, plant, store, nodes: Vec::new(), starts: 0, network };
        for node in 0..NODES {
            let process = trial.node(node, node == 0)?;
            trial.nodes.push(process);
        }
        Ok(trial)
    }

    fn node(&mut self, node: usize, bootstrap: bool) -> Result<Process, String> {
        let at = |node| SocketAddr::new(IpAddr::V4(Network::ip(node)), PORT).to_string();
        let name = format!("n{node}");
        let mut command = Command::new(&self.program);
        command.args(["node", "--name", &name, "--serf", &at(node)]);
        let plant = if matches!(self.plant, Plant::Guard | Plant::Store) { "guard" } else { "none" };
        command.args(["--plant", plant, "--dir"]).arg(&self.dir);
        command.arg("--record").arg(self.dir.join(format!("{name}-{}.held", self.starts)));
        self.starts += 1;
        for other in (0..NODES).filter(|&other| other != node) {
            command.args(["--join", &at(other)]);
        }
        if bootstrap {
            command.arg("--bootstrap");
        }
        if node + 1 < NODES {
            command.arg("--data-dir").arg(self.dir.join(format!("data-{name}")));
        }
        Process::start(&name, self.network.on(node, &command), &self.dir)
    }

    /// Runs so many rounds under load, and says what came of each by `tell`.
    ///
    /// # Errors
    /// When the cluster does not serve again after a fault.
    pub fn run(&mut self, rounds: usize, pause: Duration, mut tell: impl FnMut(&str)) -> Result<Outcome, String> {
        let names: Vec<_> = (0..NODES).map(|node| format!("n{node}")).collect();
        let writers = writers::start(&self.dir, &names, CLIENTS);
        self.all_own()?;
        self.serves(&writers)?;
        for round in 0..rounds {
            let fault = FAULTS[round % FAULTS.len()];
            // Each fault comes to each node in turn.
            let victim = (round / FAULTS.len() + round % FAULTS.len()) % NODES;
            self.hurt(victim, fault, pause)?;
            self.serves(&writers).map_err(|error| format!("round {round}, {fault:?} of n{victim}: {error}"))?;
            let (writes, refused) = (writers.acknowledged().len(), self.store.state().refused);
            tell(&format!("{round:>5}  {:<6}  n{victim}  {writes:>12}  {refused:>7}", format!("{fault:?}")));
        }
        self.judge(&writers.finish())
    }

    fn hurt(&mut self, victim: usize, fault: Fault, pause: Duration) -> Result<(), String> {
        let cut = pause.min(CUT_MAX);
        match fault {
            Fault::Stop => {
                self.nodes[victim].signal(Signal::STOP);
                std::thread::sleep(pause);
                self.nodes[victim].signal(Signal::CONT);
            }
            Fault::Kill => {
                self.nodes[victim].signal(Signal::KILL);
                self.nodes[victim].wait(GENEROUS)?;
                self.nodes[victim] = self.node(victim, false)?;
            }
            Fault::Cut => self.cut(victim, &["input", "output"], cut)?,
            Fault::CutIn => self.cut(victim, &["input"], cut)?,
            Fault::CutOut => self.cut(victim, &["output"], cut)?,
        }
        Ok(())
    }

    fn cut(&self, victim: usize, hooks: &[&str], length: Duration) -> Result<(), String> {
        let chain = |hook: &&str| format!("chain {hook} {{ type filter hook {hook} priority 0; policy drop; }}");
        let chains: Vec<_> = hooks.iter().map(chain).collect();
        let table = format!("table inet cut {{\n{}\n}}", chains.join("\n"));
        self.network.run_on(victim, &["nft", &table])?;
        std::thread::sleep(length);
        self.network.run_on(victim, &["nft", "delete table inet cut"]).map(drop)
    }

    /// Waits until every node has held a guard.
    fn all_own(&self) -> Result<(), String> {
        wait_for("every node to own a shard", GENEROUS, || {
            let owners = read(&self.dir)?.values().filter(|held| !held.is_empty()).count();
            if owners == NODES { Ok(()) } else { Err(format!("{owners} do")) }
        })
    }

    /// Waits until a write of every shard, begun after this call, is acknowledged.
    fn serves(&self, writers: &Clients<Written>) -> Result<(), String> {
        // What is acknowledged from here on may have been begun before, by one write of each client.
        let before = writers.acknowledged().len() + CLIENTS;
        let served = wait_for("all shards to be served", GENEROUS * 2, || {
            let served: BTreeSet<_> = writers.acknowledged().iter().skip(before).map(|&(shard, _)| shard).collect();
            if served.len() == SHARDS as usize { Ok(()) } else { Err(format!("{} are", served.len())) }
        });
        served.map_err(|error| {
            let tails: Vec<_> = self.nodes.iter().map(Process::tail).collect();
            format!("{error}\n{}", tails.join("\n"))
        })
    }

    fn judge(&mut self, acknowledged: &[(u32, u64)]) -> Result<Outcome, String> {
        for node in &mut self.nodes {
            node.signal(Signal::KILL);
            node.wait(GENEROUS)?;
        }
        let records = read(&self.dir)?;
        let state = self.store.state();
        Ok(Outcome {
            acknowledged: acknowledged.len(),
            refused: state.refused,
            moves: state.moves(),
            held: records.values().map(Vec::len).sum(),
            stale_accepted: state.stale_accepted(),
            overlaps: overlaps(&records),
            lost: state.lost(acknowledged),
        })
    }
}
