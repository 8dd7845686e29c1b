//! Who owned what, and since when, as all nodes of a cluster tell it: a shard's
//! epoch is the log entry that made a node its owner, so no change of hands is
//! missed or counted twice, whoever is asked and however often one has to ask anew.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use funk_proto::id::ShardId;
use funk_rpc::Pool;
use funk_rpc::client::Client;
use funk_rpc::cluster_service::ENDPOINT;
use funk_rpc::pb::cluster::cluster_client::ClusterClient;
use funk_rpc::pb::cluster::{WatchRequest, WatchResponse};
use funk_tokio::Tokio;
use tokio::task::JoinSet;

/// Pause before a node that does not let itself be watched is asked again.
const AGAIN: Duration = Duration::from_millis(10);

/// The owners of each shard by epoch.
#[derive(Clone, Debug, Default)]
pub struct History {
    shards: BTreeMap<ShardId, BTreeMap<u64, String>>,
}

impl History {
    fn take(&mut self, message: &WatchResponse) {
        for range in message.shards.iter().filter(|range| !range.owner.is_empty()) {
            for shard in range.first..=range.last {
                let owners = self.shards.entry(ShardId(shard)).or_default();
                owners.entry(range.epoch).or_insert_with(|| range.owner.clone());
            }
        }
    }

    /// How often a shard went from one node to another after the epoch `after`.
    pub fn moves(&self, shard: ShardId, after: u64) -> usize {
        let Some(owners) = self.shards.get(&shard) else { return 0 };
        let before = owners.range(..=after).next_back();
        let owners: Vec<_> = before.into_iter().chain(owners.range(after + 1..)).map(|(_, owner)| owner).collect();
        owners.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    /// Who owned a shard, one after the other, with the epochs.
    pub fn owners(&self, shard: ShardId) -> impl Iterator<Item = (u64, &str)> {
        self.shards.get(&shard).into_iter().flatten().map(|(epoch, owner)| (*epoch, owner.as_str()))
    }

    /// The present owner of each shard, in order.
    pub fn last(&self) -> impl Iterator<Item = (ShardId, &str)> {
        let last = |owners: &BTreeMap<u64, String>| owners.last_key_value().map_or(0, |(epoch, _)| *epoch);
        self.shards.iter().map(move |(shard, owners)| (*shard, owners.get(&last(owners)).map_or("", String::as_str)))
    }

    /// The highest epoch of a shard.
    pub fn epoch(&self) -> u64 {
        let epochs = self.shards.values().filter_map(|owners| owners.last_key_value());
        epochs.map(|(epoch, _)| *epoch).max().unwrap_or(0)
    }

    /// The shards that went from one node to another after the epoch `after`.
    pub fn moved(&self, after: u64) -> Vec<ShardId> {
        self.shards.keys().copied().filter(|&shard| self.moves(shard, after) > 0).collect()
    }
}

/// Follows what each node of a cluster tells; ends with the value.
#[derive(Debug)]
pub struct Historian {
    history: Arc<Mutex<History>>,
    // Its tasks end with it.
    _watching: JoinSet<()>,
}

impl Historian {
    /// Begins to follow these nodes, wherever `client` finds them.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(client: &Client<Tokio>, nodes: impl IntoIterator<Item = String>) -> Self {
        let history = Arc::<Mutex<History>>::default();
        let mut watching = JoinSet::new();
        for node in nodes {
            let (client, history) = (client.clone(), Arc::clone(&history));
            watching.spawn(async move {
                loop {
                    // A node that ended comes back at another address, or a moment later.
                    follow(&client, &node, &history).await;
                    tokio::time::sleep(AGAIN).await;
                }
            });
        }
        Self { history, _watching: watching }
    }

    /// What is known by now.
    pub fn get(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes in what a node tells until it does not.
async fn follow(client: &Client<Tokio>, node: &str, history: &Mutex<History>) -> Option<()> {
    let at = client.endpoints(ENDPOINT).into_iter().find(|(name, _)| name == node);
    let (_, address) = at?;
    let mut service = ClusterClient::new(Pool::<Tokio>::new().at(address));
    let mut messages = service.watch(WatchRequest { epoch: 0 }).await.ok()?.into_inner();
    while let Some(message) = messages.message().await.ok()? {
        history.lock().unwrap_or_else(PoisonError::into_inner).take(&message);
    }
    None
}

#[cfg(test)]
mod tests {
    use funk_rpc::pb::cluster::ShardRange;

    use super::*;

    fn told(ranges: &[(u32, u32, &str, u64)]) -> WatchResponse {
        let range = |&(first, last, owner, epoch): &(u32, u32, &str, u64)| ShardRange {
            first,
            last,
            owner: owner.into(),
            epoch,
            moving: false,
        };
        WatchResponse { shards: ranges.iter().map(range).collect(), ..WatchResponse::default() }
    }

    #[test]
    fn each_change_of_hands_counts_once_whoever_tells_it_and_in_whatever_order() {
        let mut history = History::default();
        history.take(&told(&[(0, 1, "a", 5), (2, 2, "", 0)]));
        history.take(&told(&[(0, 0, "c", 9)]));
        // Another node tells late what came between.
        history.take(&told(&[(0, 0, "b", 7), (1, 1, "a", 5)]));
        let moves = |shard, after| history.moves(ShardId(shard), after);
        assert_eq!([moves(0, 0), moves(0, 5), moves(0, 7), moves(0, 9), moves(1, 0), moves(2, 0)], [2, 2, 1, 0, 0, 0]);
        assert_eq!(history.moved(5), [ShardId(0)]);
        assert_eq!(history.last().collect::<Vec<_>>(), [(ShardId(0), "c"), (ShardId(1), "a")]);
        assert_eq!(history.epoch(), 9);
    }

    #[test]
    fn a_node_that_gets_its_own_shard_anew_is_no_other_owner() {
        let mut history = History::default();
        history.take(&told(&[(0, 0, "a", 5)]));
        history.take(&told(&[(0, 0, "a", 8)]));
        assert_eq!(history.moves(ShardId(0), 0), 0);
    }
}
