//! A cluster of demo nodes on the loopback address.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::http::{self, Answer, Client};
use super::matrix;
use super::namespaces::Network;
use super::pki::Pki;
use super::process::Process;
use super::status::{self, Status};
use super::{ports, program, scratch, wait_for};

/// Time for a start, a join or a fail-over on a busy machine. Tests fail by it
/// only when something hangs.
pub const GENEROUS: Duration = Duration::from_secs(30);

/// A joiner is told at most this many addresses.
const JOIN_ADDRESSES: usize = 3;

static CLUSTERS: AtomicU32 = AtomicU32::new(0);

/// How the nodes of a run find each other.
static DISCOVERY: OnceLock<Discovery> = OnceLock::new();

/// Set to `mdns`: every test whose nodes would be told where to join lets them find each other.
const DISCOVERY_VARIABLE: &str = "FUNK_TEST_DISCOVERY";

/// How nodes find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Discovery {
    /// They are told addresses; nothing is sent by multicast.
    Join,
    /// They find each other by multicast DNS.
    Mdns,
}

/// Chooses for the whole run how nodes find each other; the first choice counts.
pub fn discover_by(discovery: Discovery) {
    // A second choice would be the caller's mistake; the run shows it.
    let _ = DISCOVERY.set(discovery);
}

/// How nodes find each other in this run: as chosen, else as the environment says.
pub fn discovery() -> Discovery {
    *DISCOVERY.get_or_init(|| match std::env::var(DISCOVERY_VARIABLE).as_deref() {
        Ok("mdns") => Discovery::Mdns,
        _ => Discovery::Join,
    })
}

/// Demo nodes of one cluster, in the order of their start; the first bootstrapped it.
#[derive(Debug)]
pub struct DemoCluster {
    /// The nodes, the ended ones among them.
    pub nodes: Vec<DemoNode>,
    name: String,
    dir: PathBuf,
    extra: Vec<String>,
    durable: bool,
    /// Each node is on a host of its own there.
    network: Option<Network>,
    /// What the nodes and their callers show each other.
    pub pki: Option<Pki>,
}

/// One demo node.
#[derive(Debug)]
pub struct DemoNode {
    /// Its id.
    pub id: String,
    /// Its process.
    pub process: Process,
    /// Its gossip address.
    pub serf: SocketAddr,
    /// Its status page, once it printed it.
    pub page: Option<SocketAddr>,
}

impl DemoCluster {
    /// Starts `nodes` nodes and waits until they have converged. `label` names the directory of the logs.
    ///
    /// # Errors
    /// When the programs are missing or the nodes do not converge; ends with the logs.
    pub fn start(label: &str, nodes: usize) -> Result<Self, String> {
        Self::start_with(label, nodes, &[])
    }

    /// As [`DemoCluster::start`], with more arguments for every node.
    ///
    /// # Errors
    /// As [`DemoCluster::start`].
    pub fn start_with(label: &str, nodes: usize, extra: &[&str]) -> Result<Self, String> {
        let mut cluster = Self::empty(label, extra)?;
        cluster.fill(nodes)?;
        Ok(cluster)
    }

    /// As [`DemoCluster::start_with`], with each node on a host of its own, whose cable can be
    /// pulled. The calling thread moves to where it reaches them.
    ///
    /// # Errors
    /// As [`DemoCluster::start`], and when the machine does not allow such hosts.
    pub fn start_on_hosts(label: &str, nodes: usize, extra: &[&str]) -> Result<Self, String> {
        let mut cluster = Self::empty(label, extra)?;
        let network = Network::new()?;
        network.enter()?;
        cluster.network = Some(network);
        cluster.fill(nodes)?;
        Ok(cluster)
    }

    /// As [`DemoCluster::start`], with a certificate for each node; their pages are served over HTTP all the same.
    ///
    /// # Errors
    /// As [`DemoCluster::start`].
    pub fn start_with_tls(label: &str, nodes: usize, extra: &[&str]) -> Result<Self, String> {
        let mut cluster = Self::empty(label, &[&["--http-tls=false"], extra].concat())?;
        cluster.certify()?;
        cluster.fill(nodes)?;
        Ok(cluster)
    }

    /// Gives the nodes that start from now on certificates.
    ///
    /// # Errors
    /// When there cannot be an authority.
    pub fn certify(&mut self) -> Result<(), String> {
        if self.pki.is_none() {
            self.pki = Some(Pki::new(&self.dir, &self.name)?);
        }
        Ok(())
    }

    /// What the nodes show each other.
    ///
    /// # Errors
    /// When they have no certificates.
    pub fn pki(&self) -> Result<&Pki, String> {
        self.pki.as_ref().ok_or_else(|| "the cluster has no certificates".into())
    }

    /// The flags that give a caller a certificate of this role, if the nodes ask for one.
    ///
    /// # Errors
    /// When there cannot be one.
    pub fn caller(&self, role: &str) -> Result<Vec<String>, String> {
        self.pki.as_ref().map_or(Ok(Vec::new()), |pki| pki.caller(role))
    }

    /// Pulls the cable of a node's host, or plugs it in.
    ///
    /// # Errors
    /// When the node has no host of its own.
    pub fn plug(&self, node: usize, plugged: bool) -> Result<(), String> {
        self.network.as_ref().ok_or("all nodes are on one host")?.plug(node, plugged)
    }

    /// Runs a short command on a node's host; what it printed.
    ///
    /// # Errors
    /// When the node has no host of its own; what the command said, when it failed.
    pub fn run_on(&self, node: usize, words: &[&str]) -> Result<String, String> {
        self.network.as_ref().ok_or("all nodes are on one host")?.run_on(node, words)
    }

    /// Starts the first `nodes` nodes and waits until they have converged.
    ///
    /// # Errors
    /// As [`DemoCluster::start`].
    pub fn fill(&mut self, nodes: usize) -> Result<(), String> {
        self.bootstrap()?;
        for _ in 1..nodes {
            self.join()?;
        }
        self.converged(GENEROUS)?;
        self.all_voters(GENEROUS)?;
        Ok(())
    }

    /// A cluster of no node yet.
    ///
    /// # Errors
    /// When the directory of the logs cannot be made.
    pub fn empty(label: &str, extra: &[&str]) -> Result<Self, String> {
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let dir = scratch(&format!("{label}-{number}"))?;
        let name = format!("t{}-{number}", std::process::id());
        let extra = extra.iter().map(|&text| text.to_owned()).collect();
        let mut cluster = Self { nodes: Vec::new(), name, dir, extra, durable: false, network: None, pki: None };
        if matrix::has_certificates() {
            cluster.certify()?;
        }
        Ok(cluster)
    }

    /// Nodes that start from now on have data directories.
    pub fn set_durable(&mut self) {
        self.durable = true;
    }

    /// The data directory of a node.
    pub fn data_dir(&self, node: usize) -> PathBuf {
        self.dir.join(format!("data-n{node}"))
    }

    /// Starts an ended node again, with the same name and gossip address and no
    /// address to join; does not wait for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_again(&mut self, node: usize) -> Result<(), String> {
        let (id, serf) = (self.nodes[node].id.clone(), self.nodes[node].serf);
        self.nodes[node].process = self.process(node, &id, serf, &[])?;
        self.nodes[node].page = None;
        Ok(())
    }

    /// Starts the node that bootstraps; does not wait for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn bootstrap(&mut self) -> Result<usize, String> {
        self.spawn(&["--bootstrap"])
    }

    /// Starts a node that joins by the addresses of live nodes, or finds them; does not wait for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn join(&mut self) -> Result<usize, String> {
        if discovery() == Discovery::Mdns {
            return self.spawn(&[]);
        }
        let live = self.live().into_iter().take(JOIN_ADDRESSES);
        let addresses: Vec<_> = live.map(|node| self.nodes[node].serf.to_string()).collect();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        self.join_at(&addresses)
    }

    /// Starts a node that joins by these addresses; does not wait for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn join_at(&mut self, addresses: &[&str]) -> Result<usize, String> {
        let arguments: Vec<_> = addresses.iter().flat_map(|&address| ["--join", address]).collect();
        self.spawn(&arguments)
    }

    /// Gives the nodes that start from now on these arguments besides.
    pub fn set_extra(&mut self, extra: &[&str]) {
        self.extra = extra.iter().map(|&text| text.to_owned()).collect();
    }

    fn spawn(&mut self, arguments: &[&str]) -> Result<usize, String> {
        let node = self.nodes.len();
        let id = format!("n{node}");
        let mut serf = ports::free()?;
        if let Some(network) = &mut self.network {
            network.add()?;
            serf.set_ip(Network::ip(node).into());
        }
        let process = self.process(node, &id, serf, arguments)?;
        self.nodes.push(DemoNode { id, process, serf, page: None });
        Ok(node)
    }

    fn process(&self, node: usize, id: &str, serf: SocketAddr, arguments: &[&str]) -> Result<Process, String> {
        let mut command = demo_command_at(&self.name, serf.ip())?;
        command.args(["--node-id", id, "--serf-endpoint", &serf.to_string()]).args(arguments);
        command.args(&self.extra).args(matrix::flags(&self.extra));
        if self.durable {
            command.arg("--data-dir").arg(self.data_dir(node));
        }
        if let Some(pki) = &self.pki {
            pki.provide("node", id)?;
            command.args(pki.flags(id));
        }
        let command = match &self.network {
            Some(network) => network.on(node, &command),
            None => command,
        };
        Process::start(id, command, &self.dir)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its logs are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The nodes whose processes have not ended (a stopped one has not).
    pub fn live(&mut self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].process.ended().is_none()).collect()
    }

    /// The status page of a node; waits until it printed it.
    ///
    /// # Errors
    /// When it prints none.
    pub fn page(&mut self, node: usize) -> Result<SocketAddr, String> {
        let node = &mut self.nodes[node];
        if let Some(page) = node.page {
            return Ok(page);
        }
        let line = node.process.line("status ", GENEROUS)?;
        let page = page_address(&line.text)?;
        node.page = Some(page);
        Ok(page)
    }

    /// What a node says of itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn status(&mut self, node: usize) -> Result<Status, String> {
        let page = self.page(node)?;
        status::fetch(&mut Client::new(page, Duration::from_secs(2)))
    }

    /// Fetches a page of a node.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn get(&mut self, node: usize, path: &str) -> Result<Answer, String> {
        let page = self.page(node)?;
        http::get(page, path, Duration::from_secs(5)).map_err(|error| format!("{path}: {error}"))
    }

    /// Waits until all live nodes have converged; gives what each of them says.
    ///
    /// # Errors
    /// When they have not in time: why, and the ends of their logs.
    pub fn converged(&mut self, within: Duration) -> Result<Vec<Status>, String> {
        let live = self.live();
        self.converged_among(&live, within)
    }

    /// As [`DemoCluster::converged`], for these nodes only: they own everything.
    ///
    /// # Errors
    /// As [`DemoCluster::converged`].
    pub fn converged_among(&mut self, nodes: &[usize], within: Duration) -> Result<Vec<Status>, String> {
        let ids: BTreeSet<_> = nodes.iter().map(|&node| self.nodes[node].id.clone()).collect();
        let mut clients = Vec::new();
        for &node in nodes {
            clients.push(Client::new(self.page(node)?, Duration::from_secs(2)));
        }
        let outcome = wait_for("the nodes to converge", within, || {
            let all: Vec<_> = clients.iter_mut().map(status::fetch).collect::<Result<_, _>>()?;
            check_converged(&all, &ids).map(|()| all)
        });
        outcome.map_err(|error| format!("{error}\n{}", self.tails(nodes)))
    }

    /// Waits until as many of the live nodes vote as should: members are made
    /// voters one after the other, some time after they serve.
    ///
    /// # Errors
    /// When they do not in time.
    pub fn all_voters(&mut self, within: Duration) -> Result<(), String> {
        let live = self.live();
        let wanted = voters_of(live.len());
        let mut clients = Vec::new();
        for &node in &live {
            clients.push(Client::new(self.page(node)?, Duration::from_secs(2)));
        }
        wait_for("the voters", within, || {
            for client in &mut clients {
                let status = status::fetch(client)?;
                if status.voters() != wanted {
                    return Err(format!("{wanted} should vote: {}", status.brief()));
                }
            }
            Ok(())
        })
    }

    /// The leader, by what the nodes of a converged cluster say.
    ///
    /// # Errors
    /// When they name none.
    pub fn leader(&mut self) -> Result<usize, String> {
        let live = self.live();
        let first = *live.first().ok_or("no node is live")?;
        let leader = self.status(first)?.leader.ok_or("no leader is known")?;
        let at = self.nodes.iter().position(|node| node.id == leader);
        let at = at.ok_or_else(|| format!("`{leader}` leads, who is that?"))?;
        // The others may not have heard yet that it leads no longer.
        if self.status(at)?.leader.as_ref() != Some(&leader) {
            return Err(format!("`{leader}` is said to lead, and does not say so itself"));
        }
        Ok(at)
    }

    /// A live node that does not lead.
    ///
    /// # Errors
    /// When there is none.
    pub fn follower(&mut self) -> Result<usize, String> {
        let leader = self.leader()?;
        self.live().into_iter().find(|&node| node != leader).ok_or_else(|| "there is no follower".into())
    }

    /// The ends of the logs of these nodes.
    pub fn tails(&self, nodes: &[usize]) -> String {
        let tails: Vec<_> = nodes.iter().map(|&node| self.nodes[node].process.tail()).collect();
        tails.join("\n")
    }
}

/// How many of so many members vote: an odd number, at most five.
pub fn voters_of(members: usize) -> usize {
    let most = members.min(5);
    most - usize::from(most.is_multiple_of(2))
}

/// A command for a demo node of this cluster that keeps to the loopback address.
///
/// # Errors
/// When the program is missing.
pub fn demo_command(cluster: &str) -> Result<Command, String> {
    demo_command_at(cluster, Ipv4Addr::LOCALHOST.into())
}

fn demo_command_at(cluster: &str, ip: IpAddr) -> Result<Command, String> {
    let mut command = Command::new(program("demo")?);
    command.env_clear();
    command.args(["--cluster-name", cluster, "--interface", &ip.to_string()]);
    if discovery() == Discovery::Join {
        command.arg("--zeroconf=false");
    }
    Ok(command)
}

/// The address in a line `status http://HOST:PORT/`.
///
/// # Errors
/// When the line is another.
pub fn page_address(line: &str) -> Result<SocketAddr, String> {
    let rest = line.strip_prefix("status http://").and_then(|rest| rest.strip_suffix('/'));
    rest.and_then(|address| address.parse().ok()).ok_or_else(|| format!("`{line}` names no status page"))
}

/// Whether nodes with exactly these ids serve under one leader and one map in
/// which they own everything in equal shares.
///
/// # Errors
/// What is not so yet.
pub fn check_converged(all: &[Status], ids: &BTreeSet<String>) -> Result<(), String> {
    let first = all.first().ok_or("there is no node")?;
    for status in all {
        let same = (status.epoch, &status.leader) == (first.epoch, &first.leader);
        if !same || !status.serves() {
            let all: Vec<_> = all.iter().map(Status::brief).collect();
            return Err(format!("not at one:\n  {}", all.join("\n  ")));
        }
        check_shares(status, ids)?;
    }
    Ok(())
}

/// Whether the live nodes own all shards in a node's map, in shares that differ by at most one.
///
/// # Errors
/// What is not so.
pub fn check_shares(status: &Status, live: &BTreeSet<String>) -> Result<(), String> {
    let owned: u64 = live.iter().map(|id| status.shards_of(id)).sum();
    let shares = || live.iter().map(|id| status.shards_of(id));
    let (least, most) = (shares().min().unwrap_or_default(), shares().max().unwrap_or_default());
    if status.shards_total == 0 || owned != status.shards_total || most - least > 1 {
        return Err(format!("shards are not shared equally by the live nodes: {}", status.brief()));
    }
    if status.shards_owned != status.shards_of(&status.node_id) {
        return Err(format!("shards_owned is {}, the member list differs: {}", status.shards_owned, status.brief()));
    }
    Ok(())
}

/// Waits until a log holds `text`.
///
/// # Errors
/// With the log, when it does not come.
pub fn wait_for_log(log: &Path, text: &str) -> Result<(), String> {
    wait_for(&format!("`{text}` in the log"), GENEROUS, || {
        let log = std::fs::read_to_string(log).map_err(|error| error.to_string())?;
        if log.contains(text) { Ok(()) } else { Err(log) }
    })
}
