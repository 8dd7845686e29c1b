//! What a store must do with the epoch of a write (docs/fencing.md): a former
//! owner's write that arrives late is refused. Two nodes in one process, and a
//! store that stands for a database.
//!
//! ```text
//! cargo run -p funk-greeter --bin fenced
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::net::Ipv4Addr;
use std::time::Duration;

use funk::discovery::JoinAddress;
use funk::id::{Epoch, ShardId};
use funk::{Cluster, Node, NodeBuilder};

/// An amount for each shard, and the highest epoch that it has seen of each.
#[derive(Debug, Default)]
struct Store {
    fences: BTreeMap<ShardId, Epoch>,
    amounts: BTreeMap<ShardId, i64>,
}

/// The write came from a former owner.
#[derive(Debug)]
struct TooLate;

impl Store {
    /// What an owner does before it reads anything of a shard under a new epoch.
    fn raise(&mut self, shard: ShardId, epoch: Epoch) {
        let fence = self.fences.entry(shard).or_insert(epoch);
        *fence = epoch.max(*fence);
    }

    fn add(&mut self, shard: ShardId, epoch: Epoch, amount: i64) -> Result<i64, TooLate> {
        if self.fences.get(&shard) != Some(&epoch) {
            return Err(TooLate);
        }
        let total = self.amounts.entry(shard).or_default();
        *total += amount;
        Ok(*total)
    }
}

/// A node that begins the cluster, or joins it through `first`.
fn node(name: &str, first: Option<&Node>) -> Result<Node, Box<dyn Error>> {
    let node = NodeBuilder::new("fenced".parse()?).name(name.parse()?).interface(Ipv4Addr::LOCALHOST.into());
    let join = first.map(|first| JoinAddress::Address(first.gossip()));
    Ok(node.mdns(false).bootstrap(first.is_none()).join(join).start()?)
}

/// Waits until `cluster` owns the shard, and gives its epoch.
async fn owned(cluster: &Cluster, shard: ShardId) -> Epoch {
    let mut watch = cluster.watch();
    loop {
        if let Ok(guard) = cluster.guard(shard) {
            return guard.epoch();
        }
        watch.changed().await;
    }
}

/// Pins the shard to `to`, so that this always takes the same way.
async fn pin(shard: ShardId, to: &Node) {
    while to.management().pin(shard.0..shard.0 + 1, to.cluster().name()).await.is_err() {
        // Not a member yet.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut store = Store::default();
    let shard = ShardId(7);
    let first = node("n1", None)?;
    let second = node("n2", Some(&first))?;
    pin(shard, &first).await;
    let old = owned(first.cluster(), shard).await;
    store.raise(shard, old);
    println!("n1 adds 5: {:?}", store.add(shard, old, 5));
    // n1 sends "add 1000" now, and it stays on its way.
    pin(shard, &second).await;
    let new = owned(second.cluster(), shard).await;
    assert!(new > old, "epochs grow with every owner");
    store.raise(shard, new);
    println!("n2 adds 10: {:?}", store.add(shard, new, 10));
    println!("n1's 1000 arrive: {:?}", store.add(shard, old, 1000));
    println!("n2 adds 1: {:?}", store.add(shard, new, 1));
    Ok(())
}
