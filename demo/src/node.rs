//! One node: its sockets, its servers, its start and its end.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};

use funk_cli::{Failure, Stop, close, complain, leave, say};
use funk_io::supervisor::Reporter;
use funk_io::{
    Cluster, DataDir, Discovery, EventsEnd, OperationError, Options, Runtime, Sockets, StopReason, random_name, start,
};
use funk_proto::id::NodeName;
use funk_proto::status::NodeState;
use funk_proto::{Event, NodeConfig, Ownership, Refusal, Status};
use funk_rpc::pb::cluster::cluster_server::ClusterServer;
use funk_rpc::pb::managepb::cluster_management_server::ClusterManagementServer;
use funk_rpc::{ClusterService, Console, Management, Protocol, RouteLayer, Server, cluster_service, management, serve};
use futures_lite::future;

use crate::flags::NodeFlags;
use crate::pb::demo_service_server::DemoServiceServer;
use crate::service::{Definitions, routes};

struct Running {
    cluster: Cluster,
    servers: Vec<Server>,
    http: SocketAddr,
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// A line for stderr.
pub async fn run<R: Runtime>(flags: &NodeFlags, stop: &Stop, reporter: Option<Reporter>) -> Result<(), Failure> {
    let node = begin::<R>(flags)?;
    if let Some(reporter) = reporter {
        let stop = stop.clone();
        // Whoever ended the guard took the node for ended too.
        let reports = reporter.start(node.cluster.last_words(), move || stop.ring());
        reports.map_err(|error| Failure(format!("nothing can be reported to the guard: {error}")))?;
    }
    say(&format!("status http://{}/", node.http));
    R::spawn(follow(node.cluster.clone(), Asked { shards: flags.shards, ownership: flags.ownership() }));
    let stopped = async { End::Stopped(node.cluster.stopped().await) };
    let told = async {
        stop.rung().await;
        End::Told
    };
    let ended = future::or(future::or(stopped, told), recover(&node.cluster, flags.recover)).await;
    let result = match ended {
        End::Stopped(StopReason::Left) => Ok(()),
        // What was asked for: a supervisor is not to bring it back.
        End::Stopped(why @ StopReason::Refused(Refusal::Removed)) => {
            complain(&why.to_string());
            Ok(())
        }
        End::Stopped(why) => Err(Failure(with_flag(&why))),
        End::Unrecovered(why) => {
            leave::<R>(&node.cluster).await;
            Err(Failure(format!("--recover: {why}")))
        }
        End::Told => {
            tracing::info!("leaving");
            leave::<R>(&node.cluster).await;
            Ok(())
        }
    };
    close::<R>(&node.servers).await;
    result
}

/// Why a node stopped, with the flag that is to be another.
fn with_flag(why: &StopReason) -> String {
    let flag = match why {
        StopReason::Refused(Refusal::NameTaken(_)) => " (--node-id)",
        StopReason::Refused(Refusal::ClusterExists { .. }) => " (--bootstrap)",
        _ => "",
    };
    format!("{why}{flag}")
}

/// Why a node ends.
enum End {
    Stopped(StopReason),
    Told,
    Unrecovered(OperationError),
}

/// Ends only if a recovery was asked for and there is nothing to recover.
async fn recover(cluster: &Cluster, asked: bool) -> End {
    if asked {
        match cluster.recover().await {
            Ok(()) => say("recovered"),
            Err(why) => return End::Unrecovered(why),
        }
    }
    future::pending().await
}

fn begin<R: Runtime>(flags: &NodeFlags) -> Result<Running, Failure> {
    let refused = |error: io::Error| Failure(error.to_string());
    let ip = flags.ip();
    let any = SocketAddr::new(ip, 0);
    let at = |given: Option<SocketAddr>| given.unwrap_or(any);
    let bind = |flag: &str, given: Option<SocketAddr>| {
        let address = at(given);
        TcpListener::bind(address).map_err(|error| Failure(format!("{flag} {address}: {error}")))
    };
    let sockets = Sockets::bind(at(flags.serf_endpoint), at(flags.raft_endpoint), at(flags.liveness_endpoint));
    let sockets = sockets.map_err(refused)?;
    let demo = bind("--demo-endpoint", flags.demo_endpoint)?;
    let http = bind("--http-endpoint", flags.http_endpoint)?;
    let metrics = bind("--metrics-endpoint", flags.metrics_endpoint)?;
    let managed = bind("--management-endpoint", flags.management_endpoint)?;
    let shown = bind("--cluster-endpoint", flags.cluster_endpoint)?;

    let data = flags.data_dir.as_ref().map(DataDir::open).transpose();
    let data = data.map_err(|error| Failure(format!("--data-dir {error}")))?;
    let kept = data.as_ref().and_then(DataDir::node_name);
    let name = match flags.node_id.as_ref().or(kept) {
        Some(name) => name.clone(),
        None => random_name().map_err(refused)?,
    };
    let address = |result: io::Result<SocketAddr>| result.map_err(refused);
    let (serf, raft) = (address(sockets.serf_address())?, address(sockets.raft_address())?);
    let liveness = address(sockets.liveness_address())?;
    let mut config = NodeConfig::new(name.clone(), flags.cluster_name.clone(), serf, raft, liveness);
    flags.fill(&mut config);
    let (demo_at, http_at) = (address(demo.local_addr())?, address(http.local_addr())?);
    let (metrics_at, managed_at) = (address(metrics.local_addr())?, address(managed.local_addr())?);
    let endpoints =
        [("ep.demo", demo_at), ("ep.httpConsole", http_at), ("ep.metrics", metrics_at), ("ep.monitoring", metrics_at)];
    config.endpoints.insert(cluster_service::ENDPOINT.into(), address(shown.local_addr())?);
    config.endpoints.insert(management::ENDPOINT.into(), managed_at);
    config.endpoints.extend(endpoints.map(|(name, at)| (name.to_owned(), at)));
    announce(flags, &name, serf, data.as_ref());

    let discovery = Discovery {
        mdns: flags.zeroconf,
        service: Some(demo_at),
        management: Some(managed_at),
        join: flags.join.clone(),
        sources: Vec::new(),
    };
    let options = Options { data, discovery, ..Options::new(config, sockets) };
    let cluster = start::<R>(options).map_err(|error| Failure(error.to_string()))?;
    end_with_a_goodbye(&cluster);
    let layer = RouteLayer::<R>::new(cluster.clone(), "ep.demo", routes());
    let console = Console::new::<R>(cluster.clone(), flags.cluster_name.clone(), layer.requests())
        .also_named(flags.http_host.iter().cloned());
    let management = ClusterManagementServer::new(Management::<R>::new(cluster.clone(), flags.cluster_name.clone()));
    let outside = ClusterServer::new(ClusterService::<R>::new(cluster.clone(), flags.cluster_name.clone()));
    let service = tower_layer::Layer::layer(&layer, DemoServiceServer::new(Definitions(name)));
    let servers = vec![
        serve::<R, _>(demo, Protocol::Http2, service).map_err(refused)?,
        serve::<R, _>(managed, Protocol::Http2, management).map_err(refused)?,
        serve::<R, _>(shown, Protocol::Http2, outside).map_err(refused)?,
        serve::<R, _>(http, Protocol::Http1, console.clone()).map_err(refused)?,
        serve::<R, _>(metrics, Protocol::Http1, console.clone()).map_err(refused)?,
    ];
    let names = ["ep.demo", management::ENDPOINT, cluster_service::ENDPOINT, "ep.httpConsole", "ep.metrics"];
    names.iter().zip(&servers).for_each(|(name, server)| console.watch(name, server));
    Ok(Running { cluster, servers, http: http_at })
}

/// A panic in whatever thread ends the process, after the peers were told: they need not miss it first.
fn end_with_a_goodbye(cluster: &Cluster) {
    cluster.last_words().say_on_panic();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        hook(panic);
        std::process::exit(101);
    }));
}

fn announce(flags: &NodeFlags, name: &NodeName, serf: SocketAddr, data: Option<&DataDir>) {
    match data {
        None => {
            tracing::info!(node = %name, %serf, "in-memory node: without a data directory a restart makes a new member")
        }
        Some(data) if data.has_log() => {
            let path = data.path().display();
            tracing::info!(node = %name, %serf, bootstrap = flags.bootstrap, data = %path, "resuming the cluster in the data directory");
        }
        Some(data) => tracing::info!(node = %name, %serf, data = %data.path().display(), "a new data directory"),
    }
}

/// Counts failed joins, so that an address that stays silent does not fill the log.
#[derive(Debug, Default)]
struct JoinFailures(BTreeMap<SocketAddr, (String, u32)>);

/// Addresses whose failures are counted.
const FAILURES_COUNTED_MAX: usize = 256;

impl JoinFailures {
    /// Logs the first failure for each reason, then each time that the count doubles.
    fn tell(&mut self, address: SocketAddr, reason: &str) {
        if self.0.len() >= FAILURES_COUNTED_MAX && !self.0.contains_key(&address) {
            self.0.pop_first();
        }
        let (last, count) = self.0.entry(address).or_default();
        if last != reason {
            (*last, *count) = (reason.to_owned(), 0);
        }
        *count += 1;
        if count.is_power_of_two() {
            tracing::warn!(%address, reason, times = *count, "cannot join there, retrying");
        }
    }
}

/// What the command line asks of a cluster that this node would begin. One that is there already has its own.
struct Asked {
    shards: Option<u32>,
    ownership: Option<Ownership>,
}

impl Asked {
    /// Remarks on what has no effect.
    fn remark(&self, status: &Status) {
        if let Some(asked) = self.shards.filter(|asked| *asked != status.shards_total) {
            let has = status.shards_total;
            tracing::warn!("--shards {asked} has no effect: the cluster was begun with {has} shards");
        }
        if let (Some(asked), Some(has)) = (self.ownership, status.ownership)
            && asked != has
        {
            let (asked, has) = (asked.word(), has.word());
            tracing::warn!("--ownership {asked} has no effect: the cluster was begun as {has}");
        }
    }
}

/// Logs what happens, and says once when the node is Operational.
async fn follow(cluster: Cluster, asked: Asked) {
    let mut events = cluster.events();
    let mut said = false;
    let mut failures = JoinFailures::default();
    let mut check = true;
    loop {
        if check && !said {
            let Ok(status) = cluster.status().await else { return };
            if status.state == NodeState::Operational {
                said = true;
                asked.remark(&status);
                say("operational");
            }
        }
        check = match events.next().await {
            Ok(Event::State(state)) => {
                tracing::info!(%state, "state");
                true
            }
            Ok(Event::Committed { .. }) => false,
            Ok(event) => {
                tracing::debug!(?event);
                if let Event::JoinFailed { address, reason } = &event {
                    failures.tell(*address, reason);
                }
                false
            }
            Err(EventsEnd::Lagged(_)) => true,
            Err(EventsEnd::Stopped) => return,
        };
    }
}
