//! The counter that the simulator runs, unchanged on real nodes.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use funk::Runtime;
use funk::discovery::JoinAddress;
use funk::grpc::{Node, NodeBuilder};
use funk::id::ShardId;
use funk::service::AskError;
use funk::smol::Smol;
use funk::status::RaftStatus;
use funk::tokio::Tokio;
use funk_counter::Counter;
use futures_lite::future;

const SHARDS: u32 = 24;
const PATIENCE: Duration = Duration::from_secs(60);

/// What was handed out last, by shard.
type Given = BTreeMap<ShardId, u64>;

fn node<R: Runtime>(name: &str, first: Option<&Node<R>>) -> Node<R> {
    let (name, cluster) = (name.parse().expect("a legal name"), "counter-test".parse().expect("a legal name"));
    let node = NodeBuilder::<R>::new(cluster).name(name).interface(Ipv4Addr::LOCALHOST.into()).mdns(false);
    let join = first.map(|first| JoinAddress::Address(first.gossip()));
    let node = node.shards(SHARDS).bootstrap(first.is_none()).join(join).application(Counter::new(false));
    node.start().expect("the node starts")
}

/// Counts each shard once through whichever node answers, those first that may have owned it once.
async fn count_all<R: Runtime>(nodes: &[Node<R>], given: &mut Given) {
    for shard in (0..SHARDS).map(ShardId) {
        let answer = count::<R>(nodes, shard).await;
        let number = u64::from_be_bytes(answer.as_ref().try_into().expect("a number"));
        let last = given.insert(shard, number);
        assert!(last.is_none_or(|last| last < number), "shard {shard}: {number} after {last:?}");
    }
}

async fn count<R: Runtime>(nodes: &[Node<R>], shard: ShardId) -> Bytes {
    loop {
        for requests in nodes.iter().filter_map(Node::application) {
            if let Ok(answer) = requests.ask(shard, Bytes::new()).await {
                return answer;
            }
        }
        // No right anywhere for the moment: until the owner is told of it.
        let mut watches: Vec<_> = nodes.iter().map(|node| node.cluster().watch()).collect();
        let changed = async {
            for watch in &mut watches {
                future::or(watch.changed(), R::sleep(Duration::from_millis(20))).await;
            }
        };
        changed.await;
    }
}

/// Three voters, so that two outlive the third, and shards with each.
async fn until_one_may_go<R: Runtime>(nodes: &[Node<R>]) {
    for cluster in nodes.iter().map(Node::cluster) {
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
        let mut nodes = vec![node::<R>("n1", None)];
        count_all::<R>(&nodes, &mut given).await;
        let others = ["n2", "n3"].map(|name| node::<R>(name, Some(&nodes[0])));
        nodes.extend(others);
        until_one_may_go::<R>(&nodes).await;
        for _ in 0..5 {
            count_all::<R>(&nodes, &mut given).await;
        }

        let first = nodes.remove(0);
        let requests = first.application().expect("it has one").clone();
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
