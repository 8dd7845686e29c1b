//! The counter that the simulator runs, unchanged on real nodes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use funk_counter::Counter;
use funk_io::service::{self, AskError, Requests};
use funk_io::{Cluster, Options, Runtime, Sockets};
use funk_proto::NodeConfig;
use funk_proto::id::ShardId;
use funk_proto::status::RaftStatus;
use funk_smol::Smol;
use funk_tokio::Tokio;
use futures_lite::future;

const SHARDS: u32 = 24;
const PATIENCE: Duration = Duration::from_secs(60);

type Node = (Cluster, Requests);

/// What was handed out last, by shard.
type Given = BTreeMap<ShardId, u64>;

fn node<R: Runtime>(name: &str, join: Option<SocketAddr>) -> (Node, SocketAddr) {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let any = SocketAddr::new(ip, 0);
    let (name, cluster) = (name.parse().expect("a legal name"), "counter-test".parse().expect("a legal name"));
    let mut config = NodeConfig::new(name, cluster, any, any, any);
    config.shards = SHARDS;
    config.bootstrap = join.is_none();
    config.join = Vec::from_iter(join);
    let sockets = Sockets::any(ip).expect("loopback has free ports");
    let door = sockets.serf_address().expect("it is bound");
    let started = service::start::<R>(Options::new(config, sockets), Counter::new(false));
    (started.expect("the node starts"), door)
}

/// Counts each shard once through whichever node answers, those first that may have owned it once.
async fn count_all<R: Runtime>(nodes: &[Node], given: &mut Given) {
    for shard in (0..SHARDS).map(ShardId) {
        let answer = count::<R>(nodes, shard).await;
        let number = u64::from_be_bytes(answer.as_ref().try_into().expect("a number"));
        let last = given.insert(shard, number);
        assert!(last.is_none_or(|last| last < number), "shard {shard}: {number} after {last:?}");
    }
}

async fn count<R: Runtime>(nodes: &[Node], shard: ShardId) -> Bytes {
    loop {
        for (_, requests) in nodes {
            if let Ok(answer) = requests.ask(shard, Bytes::new()).await {
                return answer;
            }
        }
        // No right anywhere for the moment: until the owner is told of it.
        let mut watches: Vec<_> = nodes.iter().map(|(cluster, _)| cluster.watch()).collect();
        let changed = async {
            for watch in &mut watches {
                future::or(watch.changed(), R::sleep(Duration::from_millis(20))).await;
            }
        };
        changed.await;
    }
}

/// Three voters, so that two outlive the third, and shards with each.
async fn until_one_may_go<R: Runtime>(nodes: &[Node]) {
    for (cluster, _) in nodes {
        loop {
            let members = cluster.status().await.expect("it runs").members;
            let voters = members.iter().filter(|member| member.raft == RaftStatus::Voter).count();
            let serves = (0..SHARDS).any(|shard| cluster.guard(ShardId(shard)).is_ok());
            if voters == nodes.len() && serves {
                break;
            }
            // No event tells of voters.
            R::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn three_nodes_count<R: Runtime>() {
    let body = async {
        let mut given = Given::new();
        let (first, door) = node::<R>("n1", None);
        let mut nodes = vec![first];
        count_all::<R>(&nodes, &mut given).await;
        nodes.extend(["n2", "n3"].map(|name| node::<R>(name, Some(door)).0));
        until_one_may_go::<R>(&nodes).await;
        for _ in 0..5 {
            count_all::<R>(&nodes, &mut given).await;
        }

        let (first, requests) = nodes.remove(0);
        drop(first);
        for _ in 0..5 {
            count_all::<R>(&nodes, &mut given).await;
        }
        let asked = async {
            // The node ends in its own time; then its service says so.
            while requests.ask(ShardId(0), Bytes::new()).await != Err(AskError::Stopped) {
                R::sleep(Duration::from_millis(5)).await;
            }
        };
        asked.await;
    };
    let patience = async {
        R::sleep(PATIENCE).await;
        panic!("the test hangs");
    };
    R::block_on(future::or(body, patience)).expect("the runtime starts");
}

#[test]
fn three_nodes_hand_out_no_number_twice_on_tokio() {
    three_nodes_count::<Tokio>();
}

#[test]
fn three_nodes_hand_out_no_number_twice_on_smol() {
    three_nodes_count::<Smol>();
}
