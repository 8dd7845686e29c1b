//! Those who follow the snapshot: a bounded number, none of which can hold up another.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::{CLUSTER_WATCHERS_MAX, WATCH_BEHIND_MAX, WATCH_SEND_MAX};
use async_channel::Sender;
use funk_io::{Cluster, Runtime};
use funk_proto::id::{ClusterId, ClusterName};
use funk_proto::shards::RouteTable;
use futures_lite::{future, stream};
use tonic::Status;

use super::snapshot;
use crate::net::within;
use crate::pb::cluster::WatchResponse;

/// The messages to one watcher.
pub(super) type Stream = Pin<Box<dyn stream::Stream<Item = Message> + Send>>;
type Message = Result<WatchResponse, Status>;

/// The watchers of one node.
#[derive(Clone, Default)]
pub(super) struct Watchers(Arc<All>);

#[derive(Default)]
struct All {
    count: AtomicUsize,
    whole: Drawn<(Table, Option<ClusterId>)>,
    change: Drawn<(Table, Table)>,
}

/// What was drawn last, and of what: most watchers are shown the same.
struct Drawn<K>(Mutex<Option<(K, Messages)>>);

type Messages = Arc<[WatchResponse]>;

impl<K> Default for Drawn<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: PartialEq> Drawn<K> {
    fn get(&self, of: K, draw: impl FnOnce(&K) -> Vec<WatchResponse>) -> Messages {
        let mut drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, messages)) = drawn.as_ref().filter(|(last, _)| *last == of) {
            return Arc::clone(messages);
        }
        let messages: Messages = draw(&of).into();
        *drawn = Some((of, Arc::clone(&messages)));
        messages
    }
}

/// A published table; another one of the same content is another.
#[derive(Clone)]
struct Table(Arc<RouteTable>);

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// One watcher's place; its task and its stream share it.
struct Slot(Watchers);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.0.count.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Watchers {
    fn enter(&self) -> Result<Arc<Slot>, Status> {
        let before = self.0.count.fetch_add(1, Ordering::AcqRel);
        let slot = Arc::new(Slot(self.clone()));
        if before >= CLUSTER_WATCHERS_MAX {
            return Err(Status::resource_exhausted(format!("{CLUSTER_WATCHERS_MAX} others watch this node already")));
        }
        Ok(slot)
    }

    /// Begins to send what `cluster` looks like, from `epoch` on.
    pub(super) fn start<N: Runtime>(&self, cluster: Cluster, name: ClusterName, epoch: u64) -> Result<Stream, Status> {
        let slot = self.enter()?;
        let (messages, taken) = async_channel::bounded(1);
        let (end, ended) = async_channel::bounded(1);
        let watcher = Watcher { slot: Arc::clone(&slot), cluster, name, epoch, to: messages };
        N::spawn(async move {
            let why = watcher.tell::<N>().await;
            // Whoever went away wants no reason.
            let _ = end.try_send(Err(why));
        });
        Ok(Box::pin(stream::unfold((taken, ended, slot), |(taken, ended, slot)| async move {
            let message = match taken.recv().await {
                Ok(Due { messages, place }) => Ok(messages[place].clone()),
                Err(_) => ended.recv().await.ok()?,
            };
            Some((message, (taken, ended, slot)))
        })))
    }
}

/// A message that waits for a watcher. All wait for the same ones: each is copied as it is taken.
struct Due {
    messages: Messages,
    place: usize,
}

/// What one watcher's task sends, and where.
struct Watcher {
    slot: Arc<Slot>,
    cluster: Cluster,
    name: ClusterName,
    /// The watcher has seen this one: it is not led back.
    epoch: u64,
    to: Sender<Due>,
}

impl Watcher {
    /// Sends until something ends it, and says what did.
    async fn tell<N: Runtime>(&self) -> Status {
        let over = async {
            future::or(async { self.to.closed().await }, async {
                self.cluster.stopped().await;
            })
            .await;
            Status::unavailable("the node stops")
        };
        future::or(over, self.follow::<N>()).await
    }

    async fn follow<N: Runtime>(&self) -> Status {
        let mut watch = self.cluster.watch();
        let first = within::<N, _>(WATCH_BEHIND_MAX, async {
            loop {
                let table = self.cluster.routes();
                if table.shards() > 0 && table.epoch().0 >= self.epoch {
                    return Table(table);
                }
                watch.changed().await;
            }
        });
        let Some(mut shown) = first.await else {
            return Status::unavailable("this node is not in the cluster, or behind");
        };
        let id = match self.cluster.status().await {
            Ok(status) => status.cluster,
            Err(_) => return Status::unavailable("the node stops"),
        };
        let all = &self.slot.0.0;
        let mut messages = all.whole.get((shown.clone(), id), |(table, id)| snapshot::whole(&table.0, &self.name, *id));
        loop {
            for place in 0..messages.len() {
                let due = Due { messages: Arc::clone(&messages), place };
                if !sent::<N>(self.to.send(due)).await {
                    return Status::resource_exhausted("nothing was read for too long");
                }
            }
            watch.changed().await;
            let next = Table(self.cluster.routes());
            messages = all.change.get((shown, next.clone()), |(from, to)| snapshot::change(&from.0, &to.0));
            shown = next;
        }
    }
}

/// Whether there was room in time.
async fn sent<N: Runtime>(sending: impl Future<Output = Result<(), async_channel::SendError<Due>>>) -> bool {
    within::<N, _>(WATCH_SEND_MAX, sending).await.is_some_and(|sent| sent.is_ok())
}
