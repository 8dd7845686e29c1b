//! Totals by key, in a store that all nodes share. The owner of a key's shard keeps its totals in memory too, for those
//! who watch them; they move along with the shard.
//!
//! | file | what |
//! |---|---|
//! | `lib` | the service, and the life of a shard |
//! | `store` | SQLite, with a fence for each shard |

pub mod pb;
mod store;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use funk::id::{Epoch, NodeName, ShardId};
use funk::{AcquireError, Key, Routes, ShardGuard, ShardState};
use futures_lite::{Stream, future, stream};
use prost::Message;
use tokio::sync::watch::{self, Sender};
use tonic::{Request, Response, Status};

use crate::pb::tally_server::Tally;
use crate::pb::{AddRequest, AddResponse, Totals, WatchRequest};
pub use crate::store::Store;

/// The totals of one shard under one epoch.
type Shard = (Epoch, BTreeMap<String, Sender<i64>>);

/// One node's part of the service. Clones are the same.
#[derive(Clone, Debug)]
pub struct Tallies {
    store: Arc<Store>,
    shards: Arc<Mutex<BTreeMap<ShardId, Shard>>>,
    work: Duration,
}

impl Tallies {
    /// Over a store. Each addition takes as long as `work`, which stands for whatever a service does.
    pub fn new(store: Store, work: Duration) -> Self {
        Self { store: Arc::new(store), shards: Arc::default(), work }
    }

    /// The same as a gRPC service of one node.
    pub fn served_by(&self, node: &NodeName) -> TallyService {
        TallyService { tallies: self.clone(), node: node.to_string() }
    }

    /// All methods go to the owner of the key's shard.
    pub fn routes() -> Routes {
        let add = |message: &[u8]| Some(Key::from(AddRequest::decode(message).ok()?.key.as_str()));
        let watch = |message: &[u8]| Some(Key::from(WatchRequest::decode(message).ok()?.key.as_str()));
        Routes::new().by_message("/tally.Tally/Add", add).by_message("/tally.Tally/Watch", watch)
    }

    fn shards(&self) -> MutexGuard<'_, BTreeMap<ShardId, Shard>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The total of a key in memory, for this epoch.
    fn total(&self, guard: &ShardGuard, key: &str) -> Result<Sender<i64>, Status> {
        let mut shards = self.shards();
        let shard = shards.get_mut(&guard.shard()).filter(|(epoch, _)| *epoch == guard.epoch());
        let (_, totals) = shard.ok_or_else(|| Status::unavailable("the shard has moved"))?;
        Ok(totals.entry(key.into()).or_insert_with(|| watch::channel(0).0).clone())
    }
}

impl ShardState for Tallies {
    async fn acquire(&self, shard: ShardId, epoch: Epoch, handed: Option<Bytes>) -> Result<(), AcquireError> {
        let store = Arc::clone(&self.store);
        // SQLite blocks, so it has threads of its own.
        let totals = smol::unblock(move || {
            store.raise(shard, epoch)?;
            match handed {
                Some(handed) => Ok::<_, AcquireError>(Totals::decode(handed)?.totals.into_iter().collect()),
                None => Ok(store.load(shard)?),
            }
        });
        let totals: BTreeMap<String, i64> = totals.await?;
        let totals = totals.into_iter().map(|(key, total)| (key, watch::channel(total).0)).collect();
        self.shards().insert(shard, (epoch, totals));
        Ok(())
    }

    async fn release(&self, shard: ShardId, _epoch: Epoch) -> Option<Bytes> {
        let (_, totals) = self.shards().remove(&shard)?;
        let totals = totals.into_iter().map(|(key, total)| (key, *total.borrow())).collect();
        Some(Totals { totals }.encode_to_vec().into())
    }

    fn lost(&self, shard: ShardId, epoch: Epoch) {
        let mut shards = self.shards();
        if shards.get(&shard).is_some_and(|(of, _)| *of == epoch) {
            shards.remove(&shard);
        }
    }
}

/// The service of one node.
#[derive(Clone, Debug)]
pub struct TallyService {
    tallies: Tallies,
    node: String,
}

/// The right to serve the request, from the routing layer.
fn guard_of<T>(request: &Request<T>) -> Result<Arc<ShardGuard>, Status> {
    request.extensions().get().cloned().ok_or_else(|| Status::internal("the method is not routed"))
}

#[tonic::async_trait]
impl Tally for TallyService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<AddResponse, Status>> + Send>>;

    async fn add(&self, request: Request<AddRequest>) -> Result<Response<AddResponse>, Status> {
        let guard = guard_of(&request)?;
        let AddRequest { key, amount, id } = request.into_inner();
        smol::Timer::after(self.tallies.work).await;
        let (store, shard, epoch) = (Arc::clone(&self.tallies.store), guard.shard(), guard.epoch());
        let added = smol::unblock({
            let key = key.clone();
            move || store.add(shard, epoch, &key, amount, &id)
        });
        let added = added.await.map_err(|error| Status::internal(error.to_string()))?;
        let total = added.ok_or_else(|| Status::unavailable("the shard has a newer owner"))?;
        self.tallies.total(&guard, &key)?.send_replace(total);
        Ok(Response::new(AddResponse { total, node: self.node.clone() }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let guard = guard_of(&request)?;
        let mut total = self.tallies.total(&guard, &request.into_inner().key)?.subscribe();
        total.mark_changed();
        let stream = stream::unfold(Some((guard, total, self.node.clone())), |watching| async move {
            let (guard, mut total, node) = watching?;
            let changed = async { total.changed().await.is_ok() };
            // A planned move waits for this guard, so it must end with the shard.
            let moved = async {
                guard.cancelled().await;
                false
            };
            if !future::or(moved, changed).await {
                return Some((Err(Status::unavailable("the shard moves: call again")), None));
            }
            let total_now = *total.borrow_and_update();
            Some((Ok(AddResponse { total: total_now, node: node.clone() }), Some((guard, total, node))))
        });
        Ok(Response::new(Box::pin(stream)))
    }
}
