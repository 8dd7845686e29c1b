//! One fail-over: a cluster, a fault, and the times until its survivors serve
//! again under a map without the victim.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::cluster::{DemoCluster, GENEROUS, check_shares};
use super::fault::{Fault, Victim};
use super::load::{Load, Report};
use super::status::{Status, fetch_owners};
use super::watch::{Change, SLOW, Watch};

/// How long the map must have stood still before a fault is made.
const CALM: Duration = Duration::from_millis(300);

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Nodes before the fault.
    pub nodes: usize,
    /// The fault.
    pub fault: Fault,
    /// Whose.
    pub victim: Victim,
    /// How long the map must stand still after the fail-over.
    pub settle: Duration,
    /// Whether clients send requests throughout.
    pub load: bool,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} nodes, {} the {}", self.nodes, self.fault, self.victim)
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The times.
    pub times: Times,
    /// Epochs that came after the survivors had agreed on one.
    pub later_epochs: u32,
    /// Times that a survivor stopped serving after they had agreed.
    pub lapses: u32,
    /// Shards with another owner than before.
    pub moved: usize,
    /// How many of them are allowed.
    pub moved_max: usize,
    /// From SIGCONT, or the cable, until all nodes have converged again, the former victim among them.
    pub rejoined: Option<Duration>,
    /// What the clients saw.
    pub load: Option<Report>,
}

/// Times since the signal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// The first survivor shows that it noticed.
    pub detect: Option<Duration>,
    /// The first survivor names a new leader; nothing where the leader lives.
    pub elect: Option<Duration>,
    /// Every survivor shows a later map in which the victim owns nothing.
    pub map: Duration,
    /// Every survivor is Operational on one epoch, the one that stays.
    pub serve: Duration,
}

/// Runs one trial on a fresh cluster. `label` names the directory of its logs.
///
/// # Errors
/// What went wrong, with the ends of the logs; slow is not wrong.
pub fn run(plan: &Plan, label: &str) -> Result<Outcome, String> {
    let mut cluster = match plan.fault {
        Fault::Cut => DemoCluster::start_on_hosts(label, plan.nodes, &[])?,
        Fault::Fence => DemoCluster::start_with(label, plan.nodes, &["--guard=false", "--ownership", "fenced"])?,
        Fault::Kill => DemoCluster::start_with(label, plan.nodes, &["--guard=false"])?,
        Fault::Reap | Fault::Stop | Fault::Leave => DemoCluster::start(label, plan.nodes)?,
    };
    let outcome = run_on(plan, &mut cluster);
    outcome.map_err(|error| {
        let all: Vec<_> = (0..cluster.nodes.len()).collect();
        format!("{plan}: {error}\n{}", cluster.tails(&all))
    })
}

fn run_on(plan: &Plan, cluster: &mut DemoCluster) -> Result<Outcome, String> {
    let load = match plan.load {
        true => Some(Load::start(cluster, plan.settle + Duration::from_secs(4))?),
        false => None,
    };
    if let Some(load) = &load {
        load.running(cluster)?;
    }
    let before = calm(cluster)?;
    let victim = match plan.victim {
        Victim::Leader => cluster.leader()?,
        Victim::Follower => cluster.follower()?,
    };
    let survivors: Vec<_> = cluster.live().into_iter().filter(|&node| node != victim).collect();
    let mut pages = Vec::new();
    for &node in &survivors {
        pages.push(cluster.page(node)?);
    }
    let owners = fetch_owners(pages[0])?.1;
    let ids = survivors.iter().map(|&node| cluster.nodes[node].id.clone()).collect();
    let victim_page = cluster.page(victim)?;

    let watch = Watch::start(&pages);
    let mut scene = Scene::new(&before, cluster.nodes[victim].id.clone(), plan.victim, survivors.len());
    scene.prime(&watch)?;
    std::thread::sleep(any_phase());
    plan.fault.strike(cluster, victim)?;
    let struck = Instant::now();
    scene.observe(&watch, struck, plan.settle)?;
    drop(watch);

    let settled = scene.settled_status();
    check_shares(settled, &ids)?;
    let now_owned = fetch_owners(pages[0])?.1;
    let moved = owners.iter().zip(&now_owned).filter(|(old, new)| old != new).count();
    let rejoined = match plan.fault {
        Fault::Kill | Fault::Reap | Fault::Fence | Fault::Leave => None,
        Fault::Cut => Some(plug_in(cluster, victim)?),
        Fault::Stop => Some(wake(cluster, victim, victim_page, before.epoch)?),
    };
    Ok(Outcome {
        times: scene.times,
        later_epochs: scene.later_epochs,
        lapses: scene.lapses,
        moved,
        moved_max: moved_max(owners.len(), plan.nodes),
        rejoined,
        load: load.map(Load::finish).transpose()?,
    })
}

/// The most shards that may move when one of `nodes` is lost.
pub fn moved_max(shards: usize, nodes: usize) -> usize {
    shards.div_ceil(nodes) + nodes
}

/// A length below two heartbeats, another each time, so that trials meet every phase between two of them.
fn any_phase() -> Duration {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    Duration::from_micros(u64::from(now.subsec_nanos()) % 40_000)
}

/// Waits until the map stands still, so that a fault meets a cluster at rest.
fn calm(cluster: &mut DemoCluster) -> Result<Status, String> {
    let deadline = Instant::now() + GENEROUS;
    loop {
        let first = cluster.converged(GENEROUS)?.swap_remove(0);
        std::thread::sleep(CALM);
        let second = cluster.converged(GENEROUS)?.swap_remove(0);
        if (first.epoch, first.term, &first.leader) == (second.epoch, second.term, &second.leader) {
            return Ok(second);
        }
        if Instant::now() > deadline {
            return Err(format!("the map never stands still: {} then {}", first.brief(), second.brief()));
        }
    }
}

/// Wakes a stopped node and waits until it is a member that serves like the others.
///
/// A question that waited in its socket while it was stopped must not be
/// answered with leave to serve under the map of before.
fn wake(cluster: &mut DemoCluster, victim: usize, page: SocketAddr, epoch: u64) -> Result<Duration, String> {
    let waiting = TcpStream::connect_timeout(&page, Duration::from_secs(2))
        .map_err(|error| format!("a stopped process accepts no connection: {error}"))?;
    let question = std::thread::spawn(move || ask_status(waiting));
    // The question is in the socket before the node wakes: a write to a
    // loopback socket is done when it returns, and this pause covers the thread's start.
    std::thread::sleep(Duration::from_millis(50));
    cluster.nodes[victim].process.signal(rustix::process::Signal::CONT);
    let woken = Instant::now();
    let first = question.join().map_err(|_| "the asking thread panicked")?;
    if let Ok(status) = first
        && status.may_serve
        && status.epoch <= epoch
    {
        return Err(format!("the woken node claims to serve under its old map: {}", status.brief()));
    }
    cluster.converged(GENEROUS)?;
    Ok(woken.elapsed())
}

/// Plugs a node's cable in and waits until it is a member that serves like the others.
fn plug_in(cluster: &mut DemoCluster, victim: usize) -> Result<Duration, String> {
    cluster.plug(victim, true)?;
    let plugged = Instant::now();
    cluster.converged(GENEROUS)?;
    Ok(plugged.elapsed())
}

fn ask_status(mut stream: TcpStream) -> Result<Status, String> {
    use std::io::{Read, Write};
    let text = |error: std::io::Error| error.to_string();
    stream.set_read_timeout(Some(GENEROUS)).map_err(text)?;
    stream.write_all(b"GET /api/v1/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").map_err(text)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(text)?;
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or("no answer")? + 4;
    Status::parse(&answer[body..])
}

/// What the survivors have said so far.
struct Scene {
    victim: String,
    leader_lost: bool,
    epoch_before: u64,
    latest: Vec<Option<Result<Status, String>>>,
    times: Times,
    agreed: Option<(Instant, u64)>,
    later_epochs: u32,
    lapses: u32,
    lapsed: bool,
}

impl Scene {
    fn new(before: &Status, victim: String, kind: Victim, survivors: usize) -> Self {
        Self {
            victim,
            leader_lost: kind == Victim::Leader,
            epoch_before: before.epoch,
            latest: vec![None; survivors],
            times: Times::default(),
            agreed: None,
            later_epochs: 0,
            lapses: 0,
            lapsed: false,
        }
    }

    /// Waits until every survivor has answered once.
    fn prime(&mut self, watch: &Watch) -> Result<(), String> {
        while self.latest.iter().any(Option::is_none) {
            let change = watch.next(GENEROUS).ok_or("a survivor does not answer before the fault")?;
            self.latest[change.node] = Some(change.status);
        }
        Ok(())
    }

    fn observe(&mut self, watch: &Watch, struck: Instant, settle: Duration) -> Result<(), String> {
        loop {
            let wait = match self.agreed {
                Some((since, _)) => settle.saturating_sub(since.elapsed()),
                None => GENEROUS.saturating_sub(struck.elapsed()),
            };
            match watch.next(wait) {
                Some(change) => self.take(change, struck),
                None if self.agreed.is_some() && !self.lapsed => return Ok(()),
                None if struck.elapsed() < GENEROUS => {}
                None => return Err(format!("the survivors do not recover: {}", self.brief())),
            }
            if self.agreed.is_some_and(|(since, _)| since.elapsed() > Duration::from_secs(2)) {
                watch.set_interval(SLOW);
            }
        }
    }

    fn take(&mut self, change: Change, struck: Instant) {
        let after = change.at.saturating_duration_since(struck);
        if let Ok(status) = &change.status {
            self.mark(status, after);
        }
        self.latest[change.node] = Some(change.status);
        let map = self.all(|status| self.without_victim(status));
        let agreement = self.agreement();
        match (self.agreed, agreement) {
            (Some((_, old)), Some(new)) if old == new => self.lapsed = false,
            (_, Some(epoch)) => {
                self.later_epochs += u32::from(self.agreed.is_some());
                self.agreed = Some((change.at, epoch));
                self.times.serve = after;
                self.lapsed = false;
            }
            (Some(_), None) if !self.lapsed => {
                self.lapsed = true;
                self.lapses += 1;
            }
            (_, None) => {}
        }
        if map && self.times.map.is_zero() {
            self.times.map = after;
        }
    }

    fn mark(&mut self, status: &Status, after: Duration) {
        let gone =
            status.members.get(&self.victim).is_none_or(|member| member.serf != "alive" || member.raft.is_empty());
        let leaderless = self.leader_lost && status.leader.as_ref() != Some(&self.victim);
        if gone || leaderless || status.epoch > self.epoch_before {
            self.times.detect.get_or_insert(after);
        }
        if leaderless && status.leader.is_some() {
            self.times.elect.get_or_insert(after);
        }
    }

    fn without_victim(&self, status: &Status) -> bool {
        status.epoch > self.epoch_before && status.shards_of(&self.victim) == 0
    }

    /// The one epoch on which all survivors serve without the victim.
    fn agreement(&self) -> Option<u64> {
        let epoch = match self.latest.first()? {
            Some(Ok(status)) => status.epoch,
            _ => return None,
        };
        let fine = |status: &Status| status.epoch == epoch && status.serves() && self.without_victim(status);
        self.all(fine).then_some(epoch)
    }

    fn all(&self, fine: impl Fn(&Status) -> bool) -> bool {
        self.latest.iter().all(|latest| matches!(latest, Some(Ok(status)) if fine(status)))
    }

    fn settled_status(&self) -> &Status {
        match self.latest.first() {
            Some(Some(Ok(status))) => status,
            _ => unreachable!("observe returns only when every survivor has agreed"),
        }
    }

    fn brief(&self) -> String {
        let say = |latest: &Option<Result<Status, String>>| match latest {
            Some(Ok(status)) => status.brief(),
            Some(Err(error)) => error.clone(),
            None => "never heard".into(),
        };
        self.latest.iter().map(say).collect::<Vec<_>>().join("\n  ")
    }
}

/// The ids of the nodes with these places.
pub fn ids(cluster: &DemoCluster, nodes: &[usize]) -> BTreeSet<String> {
    nodes.iter().map(|&node| cluster.nodes[node].id.clone()).collect()
}
