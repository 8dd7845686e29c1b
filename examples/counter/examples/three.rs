//! The counter on three real nodes in one process, one of which is dropped:
//!
//! ```text
//! cargo run --release -p funk-counter --example three
//! ```

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use funk_counter::Counter;
use funk_io::service::{self, Requests};
use funk_io::{Cluster, Options, Runtime as _, Sockets};
use funk_proto::NodeConfig;
use funk_proto::id::ShardId;
use funk_proto::status::RaftStatus;
use funk_tokio::Tokio;

type Node = (Cluster, Requests);

/// A node, and the address at which others join it.
fn node(name: &str, join: Option<SocketAddr>) -> Result<(Node, SocketAddr), Box<dyn Error>> {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let any = SocketAddr::new(ip, 0);
    let mut config = NodeConfig::new(name.parse()?, "counter".parse()?, any, any, any);
    config.bootstrap = join.is_none();
    config.join = Vec::from_iter(join);
    let sockets = Sockets::any(ip)?;
    let door = sockets.serf_address()?;
    Ok((service::start::<Tokio>(Options::new(config, sockets), Counter::new(false))?, door))
}

/// Asks one node after the other until the shard's owner answers. A request that failed may have been counted.
async fn count(nodes: &[Node], shard: ShardId) -> u64 {
    loop {
        for (_, requests) in nodes {
            if let Ok(answer) = requests.ask(shard, Bytes::new()).await {
                return answer.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            }
        }
        Tokio::sleep(Duration::from_millis(10)).await;
    }
}

async fn voters(cluster: &Cluster) -> usize {
    let members = cluster.status().await.map(|status| status.members).unwrap_or_default();
    members.iter().filter(|member| member.raft == RaftStatus::Voter).count()
}

fn main() -> Result<(), Box<dyn Error>> {
    let (first, door) = node("n1", None)?;
    let mut nodes = vec![first, node("n2", Some(door))?.0, node("n3", Some(door))?.0];
    Tokio::block_on(async {
        for round in 0..6 {
            if round == 3 {
                // Two outlive the third once all three vote.
                while voters(&nodes[0].0).await < 3 {
                    Tokio::sleep(Duration::from_millis(10)).await;
                }
                println!("n1 is dropped");
                drop(nodes.remove(0));
            }
            for shard in (0..4).map(ShardId) {
                println!("shard {shard}: {}", count(&nodes, shard).await);
            }
        }
    })?;
    Ok(())
}
