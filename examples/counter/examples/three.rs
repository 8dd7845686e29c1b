//! The counter on three real nodes in one process, one of which is dropped:
//!
//! ```text
//! cargo run --release -p funk-counter --example three
//! ```

use std::error::Error;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use funk::discovery::JoinAddress;
use funk::id::ShardId;
use funk::status::RaftStatus;
use funk::{Node, NodeBuilder};
use funk_counter::Counter;
use tokio::time::sleep;

/// A node that begins the cluster, or joins it through `first`.
fn node(name: &str, first: Option<&Node>) -> Result<Node, Box<dyn Error>> {
    let node = NodeBuilder::new("counter".parse()?).name(name.parse()?).interface(Ipv4Addr::LOCALHOST.into());
    let join = first.map(|first| JoinAddress::Address(first.gossip()));
    Ok(node.mdns(false).bootstrap(first.is_none()).join(join).application(Counter::new(false)).start()?)
}

/// Asks one node after the other until the shard's owner answers. A request that failed may have been counted.
async fn count(nodes: &[Node], shard: ShardId) -> u64 {
    loop {
        for requests in nodes.iter().filter_map(Node::application) {
            if let Ok(answer) = requests.ask(shard, Bytes::new()).await {
                return answer.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            }
        }
        sleep(Duration::from_millis(10)).await;
    }
}

async fn voters(node: &Node) -> usize {
    let members = node.cluster().status().await.map(|status| status.members).unwrap_or_default();
    members.iter().filter(|member| member.raft == RaftStatus::Voter).count()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let first = node("n1", None)?;
    let (second, third) = (node("n2", Some(&first))?, node("n3", Some(&first))?);
    let mut nodes = vec![first, second, third];
    for round in 0..6 {
        if round == 3 {
            // Two outlive the third once all three vote.
            while voters(&nodes[0]).await < 3 {
                sleep(Duration::from_millis(10)).await;
            }
            println!("n1 is dropped");
            drop(nodes.remove(0));
        }
        for shard in (0..4).map(ShardId) {
            println!("shard {shard}: {}", count(&nodes, shard).await);
        }
    }
    Ok(())
}
