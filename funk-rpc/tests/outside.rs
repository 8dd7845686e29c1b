//! What programs outside of the cluster see of it, on each runtime.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

#[macro_use]
#[path = "support/each_runtime.rs"]
mod each_runtime;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use funk_io::{Cluster, Options, Runtime, Sockets, start};
use funk_proto::NodeConfig;
use funk_proto::id::ShardId;
use funk_proto::limits::PROPOSAL_BYTES_MAX;
use funk_rpc::limits::CLUSTER_WATCHERS_MAX;
use funk_rpc::pb::cluster as pb;
use funk_rpc::pb::cluster::cluster_client::ClusterClient;
use funk_rpc::pb::cluster::cluster_server::ClusterServer;
use funk_rpc::{ClusterService, OneNode, Pool, Protocol, cluster_service, serve};
use tonic::{Code, Streaming};

const SHARDS: u32 = 30;
/// A part of all that a node takes.
const WATCHERS_OF_A_CONNECTION: usize = CLUSTER_WATCHERS_MAX / 64;

struct Running {
    cluster: Cluster,
    at: SocketAddr,
    serf: SocketAddr,
}

impl Running {
    fn client<R: Runtime>(&self) -> ClusterClient<OneNode<R>> {
        ClusterClient::new(Pool::<R>::new().at(self.at))
    }
}

fn node<R: Runtime>(number: u8, join: Option<SocketAddr>) -> Running {
    let sockets = Sockets::any(Ipv4Addr::LOCALHOST.into()).unwrap();
    let (serf, raft) = (sockets.serf_address().unwrap(), sockets.raft_address().unwrap());
    let liveness = sockets.liveness_address().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    let name = format!("n{number}").parse().unwrap();
    let mut config = NodeConfig::new(name, "outside".parse().unwrap(), serf, raft, liveness);
    config.bootstrap = join.is_none();
    config.join = join.into_iter().collect();
    config.shards = SHARDS;
    config.endpoints.insert(cluster_service::ENDPOINT.into(), at);
    let cluster = start::<R>(Options::new(config, sockets)).unwrap();
    let service = ClusterServer::new(ClusterService::<R>::new(cluster.clone(), "outside".parse().unwrap()));
    serve::<R, _>(listener, Protocol::Http2, service).unwrap();
    Running { cluster, at, serf }
}

/// A watcher that holds the stream to its word.
struct Watcher {
    stream: Streaming<pb::WatchResponse>,
    epoch: u64,
    shards: BTreeMap<u32, (String, bool)>,
    up: BTreeMap<String, bool>,
}

impl Watcher {
    async fn start<R: Runtime>(node: &Running, epoch: u64) -> Self {
        Self::through(&mut node.client::<R>(), epoch).await
    }

    async fn through<R: Runtime>(client: &mut ClusterClient<OneNode<R>>, epoch: u64) -> Self {
        let answer = client.watch(pb::WatchRequest { epoch }).await.unwrap();
        let mut stream = answer.into_inner();
        let first = stream.message().await.unwrap().unwrap();
        assert!(first.full && first.epoch >= epoch && !first.more);
        assert_eq!((first.cluster_name.as_str(), first.shard_count), ("outside", SHARDS));
        assert_eq!(first.cluster_id.len(), 16);
        let mut watcher = Self { stream, epoch: first.epoch, shards: BTreeMap::new(), up: BTreeMap::new() };
        watcher.take(first);
        assert_eq!(watcher.shards.len(), SHARDS as usize);
        watcher
    }

    fn take(&mut self, message: pb::WatchResponse) {
        self.epoch = message.epoch;
        for range in message.shards {
            self.shards.extend((range.first..=range.last).map(|shard| (shard, (range.owner.clone(), range.moving))));
        }
        self.up.extend(message.members.into_iter().map(|member| (member.node_id, member.up)));
        self.up.retain(|name, _| !message.removed.contains(name));
    }

    async fn next(&mut self) -> Result<(), tonic::Status> {
        let change = self.stream.message().await?.expect("a stream says why it ends");
        assert!(!change.full);
        assert_eq!(change.previous_epoch, self.epoch, "no change is left out");
        self.take(change);
        Ok(())
    }

    /// Reads until exactly these nodes own shards, and all are at rest.
    async fn settled(&mut self, nodes: &[&str]) {
        loop {
            let mut owners: Vec<_> = self.shards.values().map(|(owner, _)| owner.as_str()).collect();
            owners.sort_unstable();
            owners.dedup();
            if owners == nodes && self.shards.values().all(|(_, moving)| !moving) {
                return;
            }
            self.next().await.unwrap();
        }
    }
}

async fn a_watcher_follows_every_change_to_the_end<R: Runtime>() {
    let first = node::<R>(1, None);
    let second = node::<R>(2, Some(first.serf));
    let mut at_first = Watcher::start::<R>(&first, 0).await;
    at_first.settled(&["n1", "n2"]).await;
    let mut at_second = Watcher::start::<R>(&second, at_first.epoch).await;

    let third = node::<R>(3, Some(first.serf));
    for watcher in [&mut at_first, &mut at_second] {
        watcher.settled(&["n1", "n2", "n3"]).await;
        assert!(watcher.up.len() == 3 && watcher.up.values().all(|up| *up));
    }
    third.cluster.leave().await.unwrap();
    for watcher in [&mut at_first, &mut at_second] {
        watcher.settled(&["n1", "n2"]).await;
    }
    let table = second.cluster.routes();
    if table.epoch().0 == at_second.epoch {
        for (shard, (owner, _)) in &at_second.shards {
            assert_eq!(table.owner(ShardId(*shard)).unwrap().0.name.as_str(), owner);
        }
    }
    second.cluster.leave().await.unwrap();
    let ended = loop {
        if let Err(ended) = at_second.next().await {
            break ended;
        }
    };
    assert_eq!(ended.code(), Code::Unavailable);
}

async fn anybody_may_propose_and_ask_for_endpoints<R: Runtime>() {
    let first = node::<R>(1, None);
    let second = node::<R>(2, Some(first.serf));
    Watcher::start::<R>(&second, 0).await.settled(&["n1", "n2"]).await;
    let mut last = 0;
    for node in [&first, &second] {
        let mut client = node.client::<R>();
        let index = client.propose(pb::ProposeRequest { payload: b"hello".to_vec() }).await.unwrap().into_inner().index;
        assert!(index > last);
        last = index;
        let long = client.propose(pb::ProposeRequest { payload: vec![0; PROPOSAL_BYTES_MAX + 1] }).await;
        assert_eq!(long.unwrap_err().code(), Code::InvalidArgument);
        let prefix = "ep.clu".to_owned();
        let listed = client.endpoints(pb::EndpointsRequest { prefix }).await.unwrap().into_inner().endpoints;
        let listed: Vec<_> = listed.into_iter().map(|at| (at.node_id, at.name, at.address)).collect();
        let expected = [("n1", &first), ("n2", &second)]
            .map(|(name, node)| (name.to_owned(), cluster_service::ENDPOINT.to_owned(), node.at.to_string()));
        assert_eq!(listed, expected);
    }
}

async fn one_watcher_too_many_is_refused_until_another_goes<R: Runtime>() {
    let node = node::<R>(1, None);
    let mut watchers = Vec::new();
    while watchers.len() < CLUSTER_WATCHERS_MAX {
        // Few connections: both ends of each are files of this process.
        let mut client = node.client::<R>();
        for _ in 0..WATCHERS_OF_A_CONNECTION {
            watchers.push(Watcher::through(&mut client, 0).await);
        }
    }
    let refused = node.client::<R>().watch(pb::WatchRequest { epoch: 0 }).await;
    assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
    watchers.pop();
    // Its place is free once the node has heard of it.
    while node.client::<R>().watch(pb::WatchRequest { epoch: 0 }).await.is_err() {
        R::sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn a_node_that_is_behind_says_so<R: Runtime>() {
    let node = node::<R>(1, None);
    let mut stream = node.client::<R>().watch(pb::WatchRequest { epoch: u64::MAX }).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Unavailable);
}

on_each_runtime! {
    a_watcher_follows_every_change_to_the_end
    anybody_may_propose_and_ask_for_endpoints
    one_watcher_too_many_is_refused_until_another_goes
    a_node_that_is_behind_says_so
}
