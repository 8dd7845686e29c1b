//! What a store must do with the epoch of a write (docs/fencing.md): a former
//! owner's write that arrives late is refused. Two nodes in one process, and a
//! store that stands for a database.
//!
//! ```text
//! cargo run -p funk-greeter --bin fenced
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use funk_io::{Cluster, Options, Runtime as _, Sockets, start};
use funk_proto::NodeConfig;
use funk_proto::id::{Epoch, ShardId};
use funk_tokio::Tokio;

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

/// A node, and the address at which others join it.
fn node(name: &str, join: Option<SocketAddr>) -> Result<(Cluster, SocketAddr), Box<dyn Error>> {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let any = SocketAddr::new(ip, 0);
    let mut config = NodeConfig::new(name.parse()?, "fenced".parse()?, any, any, any);
    config.bootstrap = join.is_none();
    config.join = Vec::from_iter(join);
    let sockets = Sockets::any(ip)?;
    let door = sockets.serf_address()?;
    Ok((start::<Tokio>(Options::new(config, sockets))?, door))
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

fn main() -> Result<(), Box<dyn Error>> {
    let mut store = Store::default();
    let shard = ShardId(7);
    let (first, door) = node("n1", None)?;
    let (second, _) = node("n2", Some(door))?;
    Tokio::block_on(async {
        // A pin says where the shard is, so that this always takes the same way.
        while first.pin(7..8, first.name()).await.is_err() {
            Tokio::sleep(Duration::from_millis(20)).await;
        }
        let old = owned(&first, shard).await;
        store.raise(shard, old);
        println!("n1 adds 5: {:?}", store.add(shard, old, 5));
        // n1 sends "add 1000" now, and it stays on its way.
        while first.pin(7..8, second.name()).await.is_err() {
            Tokio::sleep(Duration::from_millis(20)).await;
        }
        let new = owned(&second, shard).await;
        assert!(new > old, "epochs grow with every owner");
        store.raise(shard, new);
        println!("n2 adds 10: {:?}", store.add(shard, new, 10));
        println!("n1's 1000 arrive: {:?}", store.add(shard, old, 1000));
        println!("n2 adds 1: {:?}", store.add(shard, new, 1));
    })?;
    Ok(())
}
