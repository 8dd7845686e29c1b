//! Start, watch, end.

use std::io::{self, IsTerminal};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use funk_cli::{Failure, Stop, close, leave, say, systemd};
use funk_io::{Cluster, Discovery, Options, Runtime, Sockets, random_name, start};
use funk_proto::limits::JOIN_ADDRESSES_MAX;
use funk_proto::{GossipKeys, NodeConfig, Participation, Refusal};
use funk_rpc::{Console, Protocol, RequestMetrics, Server, serve};
use futures_lite::future;

use super::flags::{Advertised, SeedFlags};
use super::members::Members;
use super::namesake::Namesakes;
use super::snapshot::Snapshot;

/// Between two looks at the members: gossip tells of each change within a second or so.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Members in the live view: those of a small terminal.
const ROWS: usize = 18;

struct Running {
    cluster: Cluster,
    page: Option<(Server, SocketAddr)>,
    serf: SocketAddr,
    snapshot: Option<Snapshot>,
}

/// Why a seed ends.
enum Ended {
    Told,
    Stopped,
    Refused(Refusal),
}

/// Runs a seed until it is told to stop.
///
/// # Errors
/// A line for stderr.
pub async fn run<R: Runtime>(
    flags: &SeedFlags,
    told: &Advertised,
    keys: Option<GossipKeys>,
    stop: &Stop,
) -> Result<(), Failure> {
    let mut seed = begin::<R>(flags, told, keys.clone())?;
    systemd::keep_watch(&seed.cluster)?;
    systemd::ready();
    let terminal = io::stdout().is_terminal();
    if !terminal {
        say(&format!("serf {}", seed.serf));
        if let Some((_, at)) = &seed.page {
            say(&format!("status http://{at}/"));
        }
    }
    let (cluster, snapshot) = (seed.cluster.clone(), seed.snapshot.take());
    let head = seed.head(flags);
    let namesakes = Namesakes::of(&cluster, seed.serf, flags, keys);
    let watching = watch::<R>(&cluster, snapshot, namesakes, terminal.then_some(head.as_str()));
    let stopping = async {
        stop.rung().await;
        systemd::stopping();
        Ended::Told
    };
    match future::or(stopping, watching).await {
        Ended::Told => {}
        Ended::Refused(why) => return Err(Failure(why.to_string())),
        Ended::Stopped => return Err(Failure(seed.cluster.stopped().await.to_string())),
    }
    // The view has ended by now, so those that this node sees last are those that it left behind.
    leave::<R>(&seed.cluster).await;
    close::<R>(seed.page.iter().map(|(server, _)| server)).await;
    Ok(())
}

fn begin<R: Runtime>(flags: &SeedFlags, told: &Advertised, keys: Option<GossipKeys>) -> Result<Running, Failure> {
    let refused = |error: io::Error| Failure(error.to_string());
    let snapshot = match &flags.snapshot {
        None => None,
        Some(path) => {
            let opened = Snapshot::open(path);
            Some(opened.map_err(|error| Failure(format!("--snapshot {}: {error}", path.display())))?)
        }
    };
    let any = SocketAddr::new(flags.ip(), 0);
    // No node is told of these two: nobody has anything to say there to a node that is in no cluster.
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sockets = Sockets::bind(flags.serf_endpoint.unwrap_or(any), nobody, nobody).map_err(refused)?;
    let serf = told.serf(sockets.serf_address().map_err(refused)?);
    let http = flags.http.map(|at| TcpListener::bind(at).map_err(|error| Failure(format!("--http {at}: {error}"))));
    let http = http.transpose()?;

    let name = flags.node_id.clone().map_or_else(random_name, Ok).map_err(refused)?;
    let (raft, liveness) = (sockets.raft_address(), sockets.liveness_address());
    let (raft, liveness) = (raft.map_err(refused)?, liveness.map_err(refused)?);
    let mut config = NodeConfig::new(name, flags.cluster_name.clone(), serf, raft, liveness);
    config.participation = Participation::NonMember;
    config.every_cluster = flags.every_cluster;
    config.gossip_keys = keys;
    config.service = "seed".into();
    let known = snapshot.iter().flat_map(Snapshot::addresses).filter(|address| *address != serf);
    config.join = known.take(JOIN_ADDRESSES_MAX.saturating_sub(flags.join.len())).collect();
    tracing::info!(node = %config.name, %serf, kept = config.join.len(), "a seed");

    let page_at = http.as_ref().map(TcpListener::local_addr).transpose().map_err(refused)?;
    let page_at = page_at.map(|bound| told.http(bound));
    config.endpoints.extend(page_at.map(|at| ("ep.httpConsole".to_owned(), at)));
    let discovery = Discovery { mdns: flags.uses_mdns(), join: flags.join.clone(), ..Discovery::default() };
    let keyring_file = flags.gossip.keyring_file.clone();
    let options = Options { discovery, keyring_file, ..Options::new(config, sockets) };
    let cluster = start::<R>(options).map_err(|error| Failure(error.to_string()))?;
    let console = Console::new::<R>(cluster.clone(), flags.cluster_name.clone(), RequestMetrics::default());
    let page = match (http, page_at) {
        (Some(listener), Some(at)) => Some((
            serve::<R, _>(listener, Protocol::Http1, console.also_named(flags.page_names())).map_err(refused)?,
            at,
        )),
        _ => None,
    };
    Ok(Running { cluster, page, serf, snapshot })
}

impl Running {
    /// What stands above the table of the live view.
    fn head(&self, flags: &SeedFlags) -> String {
        let of = if flags.every_cluster { "of every cluster".into() } else { format!("of {}", flags.cluster_name) };
        let page = self.page.as_ref().map_or_else(String::new, |(_, at)| format!(", http://{at}/"));
        format!("seed {} {of} at {}{page}", self.cluster.name(), self.serf)
    }
}

/// Shows the members and writes them down, until the node stops or has to.
async fn watch<R: Runtime>(
    cluster: &Cluster,
    mut snapshot: Option<Snapshot>,
    mut namesakes: Namesakes,
    live: Option<&str>,
) -> Ended {
    let mut before = Members::default();
    let mut first = true;
    let mut failed = false;
    while let Ok(status) = cluster.status().await {
        if let Some(why) = namesakes.look::<R>(&status).await {
            return Ended::Refused(why);
        }
        let members = Members::of(&status);
        if members != before || first {
            match live {
                Some(head) => draw(head, &members),
                None => members.changes_since(&before).iter().for_each(|line| say(line)),
            }
            (before, first) = (members, false);
        }
        if let Some(snapshot) = &mut snapshot {
            match snapshot.keep(&before.addresses()) {
                Ok(()) => failed = false,
                Err(error) if !failed => {
                    tracing::warn!(%error, "--snapshot cannot be written, retrying");
                    failed = true;
                }
                Err(_) => {}
            }
        }
        R::sleep(LOOK_EVERY).await;
    }
    Ended::Stopped
}

/// Clears the screen and shows the members.
fn draw(head: &str, members: &Members) {
    const CLEAR: &str = "\x1b[H\x1b[2J";
    say(&format!("{CLEAR}{head}\n{} alive\n\n{}", members.alive(), members.table(ROWS)));
}
