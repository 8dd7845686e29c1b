//! A thousand clients follow one cluster and are no members of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use funk_io::discovery::JoinAddress;
use funk_proto::id::ShardId;
use funk_rpc::client::{Client, ClientOptions, ClusterView, Seed};
use funk_tests::blackbox::Tested;
use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tokio::Tokio;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

const CLIENTS: usize = 1_000;
/// Clients that begin at one time: all of them are one process here, and share its two cores.
const AT_ONCE: usize = 50;
/// Fewer than usual: each client keeps a map of its own in this process.
const SHARDS: &str = "300";

/// Each client has a connection to the node that it follows.
fn allow_many_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("a limit below the maximum");
}

/// Whether these nodes, and no others, own everything.
fn rests_at(view: &ClusterView, nodes: &BTreeSet<String>) -> bool {
    let owners: Option<BTreeSet<_>> =
        (0..view.shards()).map(|shard| Some(view.owner(ShardId(shard))?.name.clone())).collect();
    owners.is_some_and(|owners| owners == *nodes)
}

async fn until_rests(client: &Client<Tokio>, nodes: &BTreeSet<String>) -> Result<(), String> {
    let deadline = Instant::now() + GENEROUS * 2;
    loop {
        let changed = client.changed();
        if rests_at(&client.view(), nodes) && client.trouble().is_none() {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if tokio::time::timeout(left, changed).await.is_err() {
            let seen: Vec<_> = client.view().nodes().iter().map(|node| node.name.clone()).collect();
            return Err(format!("{:?}, {seen:?}", client.trouble()));
        }
    }
}

async fn crowd(cluster: &DemoCluster, nodes: &BTreeSet<String>) -> Result<Vec<Client<Tokio>>, String> {
    let seeds: Vec<_> = cluster.nodes.iter().map(|node| Seed::Gossip(JoinAddress::Address(node.serf))).collect();
    let mut clients: Vec<Client<Tokio>> = Vec::new();
    while clients.len() < CLIENTS {
        let first = clients.len();
        clients.extend((0..AT_ONCE).map(|_| Client::start(ClientOptions::new(cluster.name(), seeds.clone()))));
        for (number, client) in clients.iter().enumerate().skip(first) {
            until_rests(client, nodes).await.map_err(|error| format!("client {number}: {error}"))?;
        }
    }
    Ok(clients)
}

#[test]
fn a_thousand_clients_follow_and_are_no_members() -> Tested {
    allow_many_files();
    let mut cluster = DemoCluster::start_with("crowd", 3, &["--shards", SHARDS])?;
    let before = cluster.converged(GENEROUS)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut nodes: BTreeSet<_> = cluster.nodes.iter().map(|node| node.id.clone()).collect();
    let began = Instant::now();
    let clients = runtime.block_on(crowd(&cluster, &nodes))?;
    println!("{CLIENTS} clients after {:?}", began.elapsed());
    for (was, is) in before.iter().zip(cluster.converged(GENEROUS)?) {
        assert_eq!(was.members.keys().collect::<Vec<_>>(), is.members.keys().collect::<Vec<_>>());
        assert_eq!(was.term, is.term, "nobody lost its leader over them");
    }
    // Those that followed it go on at the others, all at once.
    let victim = cluster.follower()?;
    cluster.nodes[victim].process.signal(Signal::KILL);
    cluster.nodes[victim].process.wait(GENEROUS)?;
    nodes.remove(&cluster.nodes[victim].id);
    let began = Instant::now();
    for (number, client) in clients.iter().enumerate() {
        let follows = runtime.block_on(until_rests(client, &nodes));
        follows.map_err(|error| format!("client {number} after the kill: {error}"))?;
    }
    println!("all know of a dead node after {:?}", began.elapsed());
    cluster.converged(GENEROUS)?;
    runtime.shutdown_timeout(Duration::ZERO);
    Ok(())
}
