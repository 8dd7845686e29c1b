//! Those who follow the picture: a bounded number, none of which can hold up another.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_channel::Sender;
use funk_io::Cluster;
use funk_proto::id::{ClusterId, ClusterName};
use funk_proto::limits::{CLUSTER_WATCHERS_MAX, WATCH_BEHIND_MAX, WATCH_SEND_MAX};
use funk_proto::shards::RouteTable;
use futures_lite::{future, stream};
use tonic::Status;

use super::picture;
use crate::net::{Net, within};
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
    /// Most watchers are shown the same: it is drawn once.
    whole: Mutex<Option<Whole>>,
    change: Mutex<Option<Change>>,
}

/// A picture as it was drawn last.
struct Whole {
    of: Arc<RouteTable>,
    id: Option<ClusterId>,
    messages: Messages,
}

/// What led from one picture to the next, as it was drawn last.
struct Change {
    from: Arc<RouteTable>,
    to: Arc<RouteTable>,
    messages: Messages,
}

type Messages = Arc<[WatchResponse]>;

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

    fn whole(&self, table: &Arc<RouteTable>, name: &ClusterName, id: Option<ClusterId>) -> Messages {
        let mut drawn = self.0.whole.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(drawn) = drawn.as_ref().filter(|drawn| Arc::ptr_eq(&drawn.of, table) && drawn.id == id) {
            return Arc::clone(&drawn.messages);
        }
        let messages: Messages = picture::whole(table, name, id).into();
        *drawn = Some(Whole { of: Arc::clone(table), id, messages: Arc::clone(&messages) });
        messages
    }

    fn change(&self, from: &Arc<RouteTable>, to: &Arc<RouteTable>) -> Messages {
        let mut drawn = self.0.change.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |drawn: &&Change| Arc::ptr_eq(&drawn.from, from) && Arc::ptr_eq(&drawn.to, to);
        if let Some(drawn) = drawn.as_ref().filter(same) {
            return Arc::clone(&drawn.messages);
        }
        let messages: Messages = picture::change(from, to).into();
        *drawn = Some(Change { from: Arc::clone(from), to: Arc::clone(to), messages: Arc::clone(&messages) });
        messages
    }

    /// Begins to send what `cluster` looks like, from `epoch` on.
    pub(super) fn start<N: Net>(&self, cluster: Cluster, name: ClusterName, epoch: u64) -> Result<Stream, Status> {
        let slot = self.enter()?;
        let (messages, taken) = async_channel::bounded(1);
        let (end, ended) = async_channel::bounded(1);
        let held = Arc::clone(&slot);
        N::spawn(async move {
            let why = held.0.tell::<N>(&cluster, &name, epoch, &messages).await;
            // Whoever went away wants no reason.
            let _ = end.try_send(Err(why));
            drop(held);
        });
        Ok(Box::pin(stream::unfold((taken, ended, slot), |(taken, ended, slot)| async move {
            let message = match taken.recv().await {
                Ok(message) => Ok(message),
                Err(_) => ended.recv().await.ok()?,
            };
            Some((message, (taken, ended, slot)))
        })))
    }

    /// Sends until something ends it, and says what did.
    async fn tell<N: Net>(
        &self,
        cluster: &Cluster,
        name: &ClusterName,
        epoch: u64,
        to: &Sender<WatchResponse>,
    ) -> Status {
        let over = async {
            future::or(async { to.closed().await }, async {
                cluster.stopped().await;
            })
            .await;
            Status::unavailable("the node stops")
        };
        future::or(over, self.follow::<N>(cluster, name, epoch, to)).await
    }

    async fn follow<N: Net>(
        &self,
        cluster: &Cluster,
        name: &ClusterName,
        epoch: u64,
        to: &Sender<WatchResponse>,
    ) -> Status {
        let mut watch = cluster.watch();
        let first = within::<N, _>(WATCH_BEHIND_MAX, async {
            loop {
                let table = cluster.routes();
                if table.shards() > 0 && table.epoch().0 >= epoch {
                    return table;
                }
                watch.changed().await;
            }
        });
        let Some(mut shown) = first.await else {
            return Status::unavailable("this node is not in the cluster, or behind");
        };
        let id = match cluster.status().await {
            Ok(status) => status.cluster,
            Err(_) => return Status::unavailable("the node stops"),
        };
        let mut messages = self.whole(&shown, name, id);
        loop {
            for message in messages.iter().cloned() {
                if !sent::<N>(to.send(message)).await {
                    return Status::resource_exhausted("nothing was read for too long");
                }
            }
            watch.changed().await;
            let table: Arc<RouteTable> = cluster.routes();
            messages = self.change(&shown, &table);
            shown = table;
        }
    }
}

/// Whether there was room in time.
async fn sent<N: Net>(sending: impl Future<Output = Result<(), async_channel::SendError<WatchResponse>>>) -> bool {
    within::<N, _>(WATCH_SEND_MAX, sending).await.is_some_and(|sent| sent.is_ok())
}
