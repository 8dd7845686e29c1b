//! Who may serve a shard now: read by the callers' own threads, written by the driver.
//!
//! A caller compares an immutable route table and an atomic lease end with the
//! clock, so a driver that stalls can never extend a lease. The driver closes a
//! shard by publishing a table that no longer shows it here, and only then looks
//! whether guards of it are in flight.
//!
//! # Why no guard slips through a closing gate
//! [`Gate::guard`] counts itself in and *then* looks at the table again; the
//! driver publishes the table and *then* looks at the count. Each side writes
//! one place and reads the other's, with a sequentially consistent fence in
//! between, so at least one sees the other's write: either the caller sees the
//! closed table and takes itself out, or the driver sees the guard and waits
//! for it. A dropped guard and a driver that begins to drain meet in the same
//! way, so no last drop goes unseen.
//!
//! # How long a closed shard's guards last
//! No guard of a closed shard is given, and those in flight follow the node's
//! lease, renewals included, so that a handler may finish. After the drain
//! timeout the core has them frozen: with the table the driver publishes where
//! the lease ended that any of them may have been told, and tells the core
//! that end. Renewals go on for other shards, but a frozen guard is measured by
//! its own end. The core may release the shard once that has passed, whether or
//! not a handler still holds its guard.
//!
//! A lease that grows is stored after the table and read before it: who sees
//! the longer lease sees the table under which it was granted, or a newer one.

pub(crate) mod guard;
pub(crate) mod publisher;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use arc_swap::ArcSwap;
use bytes::Bytes;
use event_listener::Event as Notify;
use funk_proto::Timestamp;
use funk_proto::id::{Epoch, LogIndex, ShardId, WorkerId};
use funk_proto::shards::{Place, RouteTable};
use guard::{NotOwner, NotOwnerReason, ShardGuard};

use crate::clock::Clock;

/// Guards in flight, by shard.
type Inflight = Arc<[AtomicU32]>;
/// Epochs under which the application has acquired each shard. Empty: it need not.
type Acquired = Arc<[AtomicU64]>;

/// [`Gate::sealed_until`] of a gate that may still serve.
const OPEN: u64 = u64::MAX;

/// What callers read and the driver writes.
#[derive(Debug)]
pub(crate) struct Gate {
    clock: Clock,
    published: ArcSwap<Published>,
    lease_until: AtomicU64,
    /// Once the gate is closed for good: the latest end of a lease that any guard was told. [`OPEN`] before.
    sealed_until: AtomicU64,
    /// Grows with each new table and each return of the lease.
    version: AtomicU64,
    changed: Notify,
    /// Wakes the driver when a draining shard's last guard is dropped.
    drained: Waker,
    /// What former owners handed over and nobody took yet.
    states: Mutex<BTreeMap<ShardId, (Epoch, Bytes)>>,
    /// Whether the application must acquire a shard before it is served.
    acquires: bool,
}

/// One consistent snapshot: it is replaced, never changed.
#[derive(Debug)]
struct Published {
    table: Arc<RouteTable>,
    drains: Vec<Arc<Drain>>,
    inflight: Inflight,
    acquired: Acquired,
}

impl Published {
    fn has_acquired(&self, shard: ShardId, epoch: Epoch) -> bool {
        self.acquired.get(shard.0 as usize).is_none_or(|acquired| acquired.load(Ordering::SeqCst) == epoch.0)
    }

    fn drain_of(&self, shard: ShardId) -> Option<&Drain> {
        // The latest counts: a shard may have gone, come back and be going again.
        self.drains.iter().rev().find(|drain| drain.shards.binary_search(&shard).is_ok()).map(|drain| &**drain)
    }
}

/// Shards that are being given up.
#[derive(Clone, Debug)]
struct Drain {
    change: LogIndex,
    /// Ascending.
    shards: Vec<ShardId>,
    /// The end of the guards that are left, once renewals do not count for them any more.
    frozen_until: Option<Timestamp>,
}

/// What a guard's shard is to this node now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// Owned under the guard's epoch; the node's lease ends then.
    Open(Timestamp),
    /// Closed; guards in flight are good until then.
    Draining(Timestamp),
    /// Gone.
    Lost,
}

impl Gate {
    /// A closed gate with an empty table. With `acquires`, shards are opened one by one by [`Gate::open`].
    pub(crate) fn new(clock: Clock, drained: Waker, acquires: bool) -> Self {
        let (table, drains, inflight, acquired) = (Arc::default(), Vec::new(), Arc::from([]), Arc::from([]));
        Self {
            clock,
            published: ArcSwap::from_pointee(Published { table, drains, inflight, acquired }),
            lease_until: AtomicU64::new(0),
            sealed_until: AtomicU64::new(OPEN),
            version: AtomicU64::new(0),
            changed: Notify::new(),
            drained,
            states: Mutex::default(),
            acquires,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn routes(&self) -> Arc<RouteTable> {
        Arc::clone(&self.published.load().table)
    }

    #[inline]
    pub(crate) fn lease_until(&self) -> Timestamp {
        let until = self.lease_until.load(Ordering::SeqCst);
        // The lease before the seal: whoever sees no seal was told no later end than the seal knows.
        if self.sealed_until.load(Ordering::SeqCst) == OPEN { Timestamp::from_nanos(until) } else { Timestamp::ZERO }
    }

    /// This boot's worker id, while its lease holds.
    pub(crate) fn worker_id(&self) -> Option<WorkerId> {
        // Lease before table: see the head of this file.
        let lease_until = self.lease_until();
        let worker = self.published.load().table.worker();
        worker.filter(|_| self.clock.now() < lease_until)
    }

    /// Closes the gate for good: no guard is given any more, and those in
    /// flight are no longer valid. May be called by any thread, and again.
    pub(crate) fn seal(&self) {
        let lease = || self.lease_until.load(Ordering::SeqCst);
        if self.sealed_until.compare_exchange(OPEN, lease(), Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.sealed_until.fetch_max(lease(), Ordering::SeqCst);
            self.version.fetch_add(1, Ordering::SeqCst);
            self.changed.notify(usize::MAX);
        }
    }

    /// When the last guard of a sealed gate is over, dropped or not.
    pub(crate) fn sealed_until(&self) -> Option<Timestamp> {
        let until = self.sealed_until.load(Ordering::SeqCst);
        (until != OPEN).then(|| Timestamp::from_nanos(until))
    }

    /// Whether the gate is sealed, and nobody is inside or has a right to be.
    pub(crate) fn is_deserted(&self) -> bool {
        let Some(until) = self.sealed_until() else { return false };
        if self.clock.now() >= until {
            return true;
        }
        // Seal first, then count: a guard counts itself in and then looks at the lease.
        fence(Ordering::SeqCst);
        self.published.load().inflight.iter().all(|guards| guards.load(Ordering::SeqCst) == 0)
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Rings after each change of [`Gate::version`], and when the lease is over.
    pub(crate) fn changed(&self) -> &Notify {
        &self.changed
    }

    /// The right to serve `shard`, counted in.
    pub(crate) fn guard(self: &Arc<Self>, shard: ShardId) -> Result<ShardGuard, NotOwner> {
        let guard = self.enter(&self.published.load(), shard);
        guard.ok_or_else(|| refusal(&self.published.load(), shard))
    }

    /// The table that is published now, the shard that `find` picks among that table's, and the right to serve
    /// it, counted in. All three are of one snapshot.
    pub(crate) fn enter_by(
        self: &Arc<Self>,
        find: impl FnOnce(u32) -> Option<ShardId>,
    ) -> (Arc<RouteTable>, Option<ShardId>, Option<ShardGuard>) {
        let published = self.published.load();
        let shard = find(published.table.shards());
        let guard = shard.and_then(|shard| self.enter(&published, shard));
        (Arc::clone(&published.table), shard, guard)
    }

    fn enter(self: &Arc<Self>, published: &Published, shard: ShardId) -> Option<ShardGuard> {
        let Place::Here(epoch) = published.table.place(shard) else { return None };
        if !published.has_acquired(shard, epoch) {
            return None;
        }
        // Counted in from here on; dropping the guard counts it out again.
        let guard = ShardGuard::enter(Arc::clone(self), shard, epoch, Arc::clone(&published.inflight));
        // Count first, then look: see the head of this file.
        fence(Ordering::SeqCst);
        match self.hold(shard, epoch, guard.inflight()) {
            Hold::Open(until) if self.clock.now() < until => Some(guard),
            _ => None,
        }
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<ShardId, (Epoch, Bytes)>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A shard comes with what its former owner had.
    pub(crate) fn keep_state(&self, shard: ShardId, epoch: Epoch, state: Bytes) {
        self.states().insert(shard, (epoch, state));
    }

    /// What came with a shard and was never taken; nothing of it stays here.
    pub(crate) fn untaken_state(&self, shard: ShardId) -> Option<Bytes> {
        self.states().remove(&shard).map(|(_, state)| state)
    }

    /// The application has acquired the shard: it may be served under this epoch.
    pub(crate) fn open(&self, shard: ShardId, epoch: Epoch) {
        if let Some(acquired) = self.published.load().acquired.get(shard.0 as usize) {
            acquired.store(epoch.0, Ordering::SeqCst);
        }
        self.version.fetch_add(1, Ordering::SeqCst);
        self.changed.notify(usize::MAX);
    }

    pub(crate) fn take_state(&self, shard: ShardId, epoch: Epoch) -> Option<Bytes> {
        let mut states = self.states();
        let same = states.get(&shard).is_some_and(|(of, _)| *of == epoch);
        if same { states.remove(&shard).map(|(_, state)| state) } else { None }
    }

    /// Drops what came with shards that `table` shows under another epoch.
    fn forget_states(&self, table: &RouteTable) {
        self.states().retain(|&shard, (epoch, _)| table.owner(shard).is_some_and(|(_, owned)| owned == *epoch));
    }

    fn hold(&self, shard: ShardId, epoch: Epoch, inflight: &Inflight) -> Hold {
        // Lease before table: see the head of this file.
        let lease_until = self.lease_until();
        let published = self.published.load();
        // Guards counted in another count are no longer waited for.
        if !Arc::ptr_eq(&published.inflight, inflight) {
            return Hold::Lost;
        }
        if published.table.place(shard) == Place::Here(epoch) {
            return Hold::Open(lease_until);
        }
        // An epoch is the index of one log entry: the same epoch is the same ownership.
        let same = published.table.owner(shard).is_some_and(|(_, owned)| owned == epoch);
        match published.drain_of(shard) {
            Some(Drain { frozen_until: None, .. }) if same => Hold::Draining(lease_until),
            Some(Drain { frozen_until: Some(frozen), .. }) if same && self.clock.now() < *frozen => {
                Hold::Draining(lease_until.min(*frozen))
            }
            _ => Hold::Lost,
        }
    }

    fn dropped(&self, shard: ShardId, inflight: &Inflight) {
        if inflight[shard.0 as usize].fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        fence(Ordering::SeqCst);
        if self.sealed_until().is_some() || self.published.load().drain_of(shard).is_some() {
            self.drained.wake_by_ref();
        }
    }
}

fn refusal(published: &Published, shard: ShardId) -> NotOwner {
    let table = &published.table;
    let why = match table.place(shard) {
        Place::Here(epoch) if !published.has_acquired(shard, epoch) => NotOwnerReason::Acquiring,
        Place::Here(_) => NotOwnerReason::NoLease,
        Place::There(..) => NotOwnerReason::Elsewhere,
        Place::Pending => NotOwnerReason::Pending,
        Place::OutOfRange => NotOwnerReason::OutOfRange,
    };
    let owner = table.owner(shard);
    NotOwner { shard, owner: owner.map(|(node, _)| node.name.clone()), epoch: owner.map(|(_, epoch)| epoch), why }
}
