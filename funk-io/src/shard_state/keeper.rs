//! Calls a [`ShardState`](super::ShardState) as the route table changes.
//!
//! One task looks at each new table; others acquire and release, so that no shard waits for more than
//! [`SHARD_TASKS`] others.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use bytes::Bytes;
use funk_proto::id::{Epoch, LogIndex, ShardId};
use funk_proto::shards::{Place, RouteTable};
use futures_lite::future;

use super::{AcquireError, AnyShardState};
use crate::gate::Gate;
use crate::limits::{ACQUIRE_TIMEOUT, SHARD_TASKS};
use crate::runtime::Runtime;
use crate::seldom::Seldom;
use crate::shared::{Command, Shared};

/// Pause before an acquisition that failed is tried again; it doubles with each failure.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// One shard under one epoch.
#[derive(Debug)]
struct Life {
    epoch: Epoch,
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// With what the previous owner gave.
    Acquiring(Option<Bytes>),
    Held,
    Released,
}

/// Keeps the application's state of shards in step with the route table.
pub(crate) struct Keeper {
    state: Box<dyn AnyShardState>,
    gate: Arc<Gate>,
    lives: Mutex<BTreeMap<ShardId, Life>>,
    /// As many as there are shards at most, and each once.
    to_acquire: Sender<(ShardId, Epoch)>,
    to_release: Sender<(LogIndex, ShardId)>,
    failures: Mutex<Seldom>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

/// The other ends of a keeper's queues.
pub(crate) struct Queues {
    acquire: Receiver<(ShardId, Epoch)>,
    release: Receiver<(LogIndex, ShardId)>,
}

impl Keeper {
    pub(crate) fn new(state: Box<dyn AnyShardState>, gate: Arc<Gate>) -> (Arc<Self>, Queues) {
        let (to_acquire, acquire) = async_channel::unbounded();
        let (to_release, release) = async_channel::unbounded();
        let (lives, failures) = Default::default();
        let keeper = Self { state, gate, lives, to_acquire, to_release, failures };
        (Arc::new(keeper), Queues { acquire, release })
    }

    /// Starts the tasks. They end when the gate is sealed.
    pub(crate) fn spawn<R: Runtime>(self: &Arc<Self>, queues: &Queues, shared: &Arc<Shared>) {
        let keeper = Arc::clone(self);
        R::spawn(async move { keeper.watch().await });
        for _ in 0..SHARD_TASKS {
            let (keeper, queue) = (Arc::clone(self), queues.acquire.clone());
            R::spawn(async move {
                while let Ok((shard, epoch)) = queue.recv().await {
                    keeper.acquire::<R>(shard, epoch).await;
                }
            });
            let (keeper, queue, shared) = (Arc::clone(self), queues.release.clone(), Arc::clone(shared));
            R::spawn(async move {
                while let Ok((change, shard)) = queue.recv().await {
                    let state = keeper.release(shard).await;
                    if shared.send(Command::StateGiven { change, shard, state }).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    /// A planned move wants the shard's state, which is given later. False: nobody is there to give it.
    pub(crate) fn ask(&self, change: LogIndex, shard: ShardId) -> bool {
        self.to_release.try_send((change, shard)).is_ok()
    }

    fn lives(&self) -> MutexGuard<'_, BTreeMap<ShardId, Life>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn watch(&self) {
        let mut seen: Option<Arc<RouteTable>> = None;
        loop {
            let changed = self.gate.changed().listen();
            if self.gate.sealed_until().is_some() {
                break;
            }
            let table = self.gate.routes();
            if !seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &table)) {
                self.look(&table);
                seen = Some(table);
            }
            changed.await;
        }
        self.to_acquire.close();
        self.to_release.close();
        let lives = std::mem::take(&mut *self.lives());
        lives.into_iter().for_each(|(shard, life)| self.lose(shard, &life));
    }

    /// Compares what there is with a new table.
    pub(super) fn look(&self, table: &RouteTable) {
        let mut lost = Vec::new();
        let mut lives = self.lives();
        lives.retain(|&shard, life| {
            // An epoch is the index of one log entry: the same epoch is the same ownership, also while the shard moves.
            let is_same = table.owner(shard).is_some_and(|(_, epoch)| epoch == life.epoch);
            if !is_same {
                lost.push((shard, Life { epoch: life.epoch, stage: life.stage.clone() }));
            }
            is_same
        });
        for shard in (0..table.shards()).map(ShardId) {
            let Place::Here(epoch) = table.place(shard) else { continue };
            if lives.contains_key(&shard) {
                continue;
            }
            let handed = self.gate.take_state(shard, epoch);
            lives.insert(shard, Life { epoch, stage: Stage::Acquiring(handed) });
            // It fails when the node has stopped, and then nothing is to be acquired.
            let _ = self.to_acquire.try_send((shard, epoch));
        }
        drop(lives);
        lost.iter().for_each(|(shard, life)| self.lose(*shard, life));
    }

    fn lose(&self, shard: ShardId, life: &Life) {
        if life.stage == Stage::Held {
            self.state.lost(shard, life.epoch);
        }
    }

    /// What the previous owner gave, while the shard is being acquired under this epoch.
    fn handed(&self, shard: ShardId, epoch: Epoch) -> Option<Option<Bytes>> {
        match self.lives().get(&shard) {
            Some(Life { epoch: of, stage: Stage::Acquiring(handed) }) if *of == epoch => Some(handed.clone()),
            _ => None,
        }
    }

    async fn acquire<R: Runtime>(&self, shard: ShardId, epoch: Epoch) {
        let (mut pause, mut began) = (RETRY, false);
        while let Some(handed) = self.handed(shard, epoch) {
            began = true;
            let acquired = async { Some(self.state.acquire(shard, epoch, handed).await) };
            let late = async {
                R::sleep(ACQUIRE_TIMEOUT).await;
                Some(Err(AcquireError::from(format!("it takes longer than {ACQUIRE_TIMEOUT:?}"))))
            };
            let gone = async {
                self.gone(shard, epoch).await;
                None
            };
            match future::or(gone, future::or(acquired, late)).await {
                Some(Ok(())) if self.hold(shard, epoch) => return,
                None | Some(Ok(())) => break,
                Some(Err(error)) => self.tell(shard, &error),
            }
            future::or(self.gone(shard, epoch), R::sleep(pause)).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
        // Nobody else says so: the call has surely ended here.
        if began {
            self.state.lost(shard, epoch);
        }
    }

    /// Ends when the shard need not be acquired under this epoch any more.
    async fn gone(&self, shard: ShardId, epoch: Epoch) {
        loop {
            let changed = self.gate.changed().listen();
            let is_here = self.gate.routes().place(shard) == Place::Here(epoch);
            if !is_here || self.gate.sealed_until().is_some() {
                return;
            }
            changed.await;
        }
    }

    /// Opens the gate, unless the shard has gone meanwhile.
    fn hold(&self, shard: ShardId, epoch: Epoch) -> bool {
        let mut lives = self.lives();
        let is_wanted = |life: &&mut Life| life.epoch == epoch && matches!(life.stage, Stage::Acquiring(_));
        let Some(life) = lives.get_mut(&shard).filter(is_wanted) else { return false };
        life.stage = Stage::Held;
        drop(lives);
        self.gate.open(shard, epoch);
        true
    }

    fn tell(&self, shard: ShardId, error: &AcquireError) {
        let times = self.failures.lock().unwrap_or_else(PoisonError::into_inner).count();
        if let Some(times) = times {
            tracing::warn!(%shard, %error, times, "a shard cannot be acquired");
        }
    }

    /// What was handed over and not yet acquired goes on as it is.
    async fn release(&self, shard: ShardId) -> Option<Bytes> {
        let (epoch, before) = {
            let mut lives = self.lives();
            let life = lives.get_mut(&shard)?;
            (life.epoch, std::mem::replace(&mut life.stage, Stage::Released))
        };
        match before {
            Stage::Held => self.state.release(shard, epoch).await,
            Stage::Acquiring(handed) => handed,
            Stage::Released => None,
        }
    }
}
