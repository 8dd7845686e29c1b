//! One node: its start, what it says, and its end.

use std::net::SocketAddr;

use funk::grpc::{Node, NodeBuilder};
use funk::status::NodeState;
use funk::{Cluster, Ended, Event, EventsEnd, NodeEvent, OperationError, Refusal, Runtime, Stop, StopReason};
use funk_cli::{Failure, complain, say, systemd};
use futures_lite::future;

use crate::flags::{Advertised, NodeFlags, Transport};
use crate::pb::demo_service_server::DemoServiceServer;
use crate::security::Kept;
use crate::service::{Definitions, routes};

/// The page's endpoint.
const PAGE: &str = "ep.httpConsole";

/// Runs a node until it is told to stop.
///
/// # Errors
/// A line for stderr.
pub async fn run<R: Runtime>(
    flags: &NodeFlags,
    told: &Advertised,
    security: &Kept,
    stop: &Stop,
) -> Result<(), Failure> {
    if flags.is_first() {
        return match run_as::<R>(flags, told, true, security, stop).await? {
            // Its directory is new, and the others are there.
            Some(StopReason::Refused(Refusal::ClusterExists { .. })) => {
                tracing::info!("the cluster is there: this node joins it");
                ended(run_as::<R>(flags, told, false, security, stop).await?)
            }
            why => ended(why),
        };
    }
    ended(run_as::<R>(flags, told, flags.bootstrap, security, stop).await?)
}

/// What is said of the end of a node.
fn ended(why: Option<StopReason>) -> Result<(), Failure> {
    match why {
        Some(why) if !Ended::Stopped(why.clone()).is_orderly() => Err(Failure(with_flag(&why))),
        Some(StopReason::Left) | None => Ok(()),
        Some(why) => {
            complain(&why.to_string());
            Ok(())
        }
    }
}

/// Why the node stopped, unless it was told to.
async fn run_as<R: Runtime>(
    flags: &NodeFlags,
    told: &Advertised,
    bootstrap: bool,
    security: &Kept,
    stop: &Stop,
) -> Result<Option<StopReason>, Failure> {
    let node = builder::<R>(flags, told, security).bootstrap(bootstrap).start();
    let node = node.map_err(|error| Failure(flags.name_start(&error)))?;
    end_with_a_goodbye(node.cluster());
    systemd::keep_watch(node.cluster())?;
    let scheme = if security.tls.is_some() && flags.http_tls { "https" } else { "http" };
    say(&format!("status {scheme}://{}/", node.advertised(PAGE).unwrap_or(node.page())));
    R::spawn(follow(node.cluster().clone()));
    let mut unrecovered = None;
    let told = async { unrecovered = future::or(rung(stop), recover(&node, flags.recover)).await };
    let ended = node.run_until(told).await;
    if let Some(why) = unrecovered {
        return Err(Failure(format!("--recover: {why}")));
    }
    match ended {
        Ended::Stopped(why) => Ok(Some(why)),
        _ => Ok(None),
    }
}

/// Everything that the flags say of a node.
fn builder<R: Runtime>(flags: &NodeFlags, told: &Advertised, security: &Kept) -> NodeBuilder<R> {
    let any = SocketAddr::new(flags.ip(), 0);
    let mut node = NodeBuilder::new(flags.cluster_name.clone())
        .service_name("demo")
        .service("ep.demo", routes(), |cluster| DemoServiceServer::new(Definitions(cluster.name().clone())))
        .interface(flags.ip())
        .mdns(flags.zeroconf)
        .join(flags.join.clone())
        .auto_join(flags.auto_join)
        .weight(flags.weight)
        .drain_timeout(flags.drain_timeout)
        .capacity(flags.capacity)
        .zone(&flags.zone)
        .participation(flags.participation())
        .timing(flags.timing())
        .page_tls(flags.http_tls)
        .permit_plaintext(flags.tls_permit_plaintext)
        .quic(flags.transport == Transport::Quic)
        .page_names(flags.http_host.iter().chain(&told.page_names).cloned());
    if let Some(ip) = told.ip {
        node = node.advertise_ip(ip);
    }
    for &(name, address) in &told.endpoints {
        node = node.advertise(name, address);
    }
    if let Some(tls) = &security.tls {
        node = node.tls(tls.clone());
    }
    if let Some(keys) = &security.gossip {
        node = node.gossip_keys(keys.clone()).keyring_file(flags.gossip.keyring_file.clone());
    }
    if let Some(token) = &security.token {
        node = node.page_token(token.clone());
    }
    for (_, name, address) in flags.endpoints() {
        node = node.listen(name, address.unwrap_or(any));
    }
    if let Some(name) = &flags.node_id {
        node = node.name(name.clone());
    }
    if let Some(path) = &flags.data_dir {
        node = node.data_dir(path);
    }
    if let Some(shards) = flags.shards {
        node = node.shards(shards);
    }
    if let Some(ownership) = flags.ownership() {
        node = node.ownership(ownership);
    }
    node
}

async fn rung(stop: &Stop) -> Option<OperationError> {
    stop.rung().await;
    systemd::stopping();
    None
}

/// Why a node stopped, and which flag to change.
fn with_flag(why: &StopReason) -> String {
    let flag = match why {
        StopReason::Refused(Refusal::NameTaken(_)) => " (--node-id)",
        StopReason::Refused(Refusal::ClusterExists { .. }) => " (--bootstrap)",
        _ => "",
    };
    format!("{why}{flag}")
}

/// Ends only if a recovery was asked for and there is nothing to recover.
async fn recover<R: Runtime>(node: &Node<R>, asked: bool) -> Option<OperationError> {
    if asked {
        match node.cluster().recover().await {
            Ok(()) => say("recovered"),
            Err(why) => return Some(why),
        }
    }
    future::pending().await
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

/// Says once on stdout when the node is Operational.
async fn follow(cluster: Cluster) {
    let mut events = cluster.events();
    let mut check = true;
    loop {
        if check {
            let Ok(status) = cluster.status().await else { return };
            if status.state == NodeState::Operational {
                say("operational");
                systemd::ready();
                return;
            }
        }
        check = match events.next().await {
            Ok(Event::Node(event)) => matches!(event, NodeEvent::State(_)),
            Ok(_) => false,
            Err(EventsEnd::Lagged(_)) => true,
            Err(EventsEnd::Stopped) => return,
        };
    }
}
