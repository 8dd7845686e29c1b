//! The driver's side of the gate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use funk_proto::id::{LogIndex, ShardId};
use funk_proto::shards::RouteTable;
use funk_proto::{Input, Timestamp};

use super::{Acquired, Drain, Gate, Inflight, Published};

/// Publishes tables and leases, and watches over drains.
#[derive(Debug)]
pub(crate) struct Publisher {
    gate: Arc<Gate>,
    table: Arc<RouteTable>,
    inflight: Inflight,
    acquired: Acquired,
    route_version: Option<u64>,
    lease_until: Timestamp,
    /// Whether the lease held when it was last looked at.
    held: bool,
    /// Nothing is published any more.
    closed: bool,
    drains: Vec<Waiting>,
}

/// A drain, and those of its shards that still had guards when last looked at.
#[derive(Debug)]
struct Waiting {
    drain: Arc<Drain>,
    shards: Vec<ShardId>,
    /// Whether its shards were looked at already.
    begun: bool,
}

impl Publisher {
    pub(crate) fn new(gate: Arc<Gate>) -> Self {
        let published = gate.published.load();
        let Published { table, inflight, acquired, .. } = &**published;
        let (table, inflight, acquired) = (Arc::clone(table), Arc::clone(inflight), Arc::clone(acquired));
        drop(published);
        Self {
            gate,
            table,
            inflight,
            acquired,
            route_version: None,
            lease_until: Timestamp::ZERO,
            held: false,
            closed: false,
            drains: Vec::new(),
        }
    }

    /// Makes visible what the core decided: its table if `version` is new, its
    /// lease, the shards of `closing` as closed, and the guards that are left of
    /// the moves in `freezing` as frozen. To be called before anything that
    /// follows from it leaves the process.
    pub(crate) fn publish(
        &mut self,
        now: Timestamp,
        version: u64,
        table: impl FnOnce() -> Arc<RouteTable>,
        lease_until: Timestamp,
        closing: &[(LogIndex, &[ShardId])],
        freezing: &[LogIndex],
    ) {
        if self.closed {
            return;
        }
        let shorter = lease_until < self.lease_until;
        // What was renewed in this very pass was told to nobody yet.
        let told_until = lease_until.min(self.lease_until);
        if shorter {
            self.store_lease(lease_until);
        }
        let new_table = self.route_version != Some(version);
        if new_table {
            self.route_version = Some(version);
            self.table = table();
            self.gate.forget_states(&self.table);
            if self.inflight.len() != self.table.shards() as usize {
                let shards = self.table.shards();
                self.inflight = (0..shards).map(|_| AtomicU32::new(0)).collect();
                self.acquired = (0..shards).filter(|_| self.gate.acquires).map(|_| AtomicU64::new(0)).collect();
                self.drains.clear();
            }
        }
        for &(change, shards) in closing {
            // A move that is announced again keeps the end that it froze with.
            let again = |waiting: &&Waiting| waiting.drain.change == change && waiting.drain.shards == shards;
            let frozen_until = self.drains.iter().find(again).and_then(|waiting| waiting.drain.frozen_until);
            let drain = Drain { change, shards: shards.to_vec(), frozen_until };
            self.drains.push(Waiting { drain: Arc::new(drain), shards: Vec::new(), begun: false });
        }
        self.freeze(freezing, told_until);
        if shorter {
            self.shorten_drains(lease_until);
        }
        if new_table || !closing.is_empty() || !freezing.is_empty() || shorter && !self.drains.is_empty() {
            self.store_table();
        }
        if lease_until > self.lease_until {
            self.store_lease(lease_until);
        }
        self.ring(new_table, now < lease_until);
    }

    /// Starts to wait for the guards of a drain that was published as closing.
    /// Tells which of its shards have none.
    pub(crate) fn drain(&mut self, change: LogIndex, shards: &[ShardId]) -> Option<Input> {
        // The table was published before: see the head of the parent file.
        fence(Ordering::SeqCst);
        let inflight = &self.inflight;
        let busy =
            |shard: &ShardId| inflight.get(shard.0 as usize).is_some_and(|guards| guards.load(Ordering::SeqCst) > 0);
        // One move may have several drains, one for each destination.
        let is_this = |it: &&mut Waiting| !it.begun && it.drain.change == change && it.drain.shards == shards;
        let drain = self.drains.iter_mut().find(is_this);
        let (waiting, free): (Vec<ShardId>, Vec<ShardId>) = shards.iter().copied().partition(busy);
        if let Some(drain) = drain {
            (drain.shards, drain.begun) = (waiting, true);
        }
        self.forget_done();
        (!free.is_empty()).then_some(Input::Drained { change, shards: free })
    }

    /// Looks again at all drains, since a guard was dropped.
    pub(crate) fn sweep(&mut self, mut drained: impl FnMut(Input)) {
        fence(Ordering::SeqCst);
        for waiting in &mut self.drains {
            let inflight = &self.inflight;
            let free = |shard: &ShardId| inflight[shard.0 as usize].load(Ordering::SeqCst) == 0;
            let shards: Vec<ShardId> = waiting.shards.iter().copied().filter(free).collect();
            if !shards.is_empty() {
                waiting.shards.retain(|shard| shards.binary_search(shard).is_err());
                drained(Input::Drained { change: waiting.drain.change, shards });
            }
        }
        self.forget_done();
    }

    /// Closes the gate for ever.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.gate.seal();
        self.ring(true, false);
    }

    /// Drops what nobody waits for from the next published snapshot. A snapshot
    /// that still shows it does no harm, so none is made for this alone.
    fn forget_done(&mut self) {
        self.drains.retain(|waiting| !waiting.begun || !waiting.shards.is_empty());
    }

    /// Lets no renewal extend the guards that are left of these moves. The latest end that any of them was told is
    /// `told_until`.
    fn freeze(&mut self, changes: &[LogIndex], told_until: Timestamp) {
        for waiting in self.drains.iter_mut().filter(|waiting| changes.contains(&waiting.drain.change)) {
            let drain = Arc::make_mut(&mut waiting.drain);
            drain.frozen_until.get_or_insert(told_until);
        }
    }

    /// The latest end of a guard that was published as frozen. Zero: nobody holds one.
    pub(crate) fn frozen_until(&self, change: LogIndex) -> Timestamp {
        let of_it = self.drains.iter().filter(|waiting| waiting.drain.change == change);
        of_it.filter_map(|waiting| waiting.drain.frozen_until).max().unwrap_or(Timestamp::ZERO)
    }

    fn shorten_drains(&mut self, lease_until: Timestamp) {
        for waiting in &mut self.drains {
            if waiting.drain.frozen_until.is_some_and(|frozen| frozen > lease_until) {
                Arc::make_mut(&mut waiting.drain).frozen_until = Some(lease_until);
            }
        }
    }

    fn store_lease(&mut self, lease_until: Timestamp) {
        self.lease_until = lease_until;
        self.gate.lease_until.store(lease_until.as_nanos(), Ordering::SeqCst);
    }

    fn store_table(&self) {
        let drains = self.drains.iter().map(|waiting| Arc::clone(&waiting.drain)).collect();
        let (table, inflight) = (Arc::clone(&self.table), Arc::clone(&self.inflight));
        let acquired = Arc::clone(&self.acquired);
        self.gate.published.store(Arc::new(Published { table, drains, inflight, acquired }));
    }

    fn ring(&mut self, new_table: bool, held: bool) {
        let back = held && !self.held;
        let over = !held && self.held;
        self.held = held;
        if new_table || back {
            self.gate.version.fetch_add(1, Ordering::SeqCst);
        }
        if new_table || back || over {
            self.gate.changed.notify(usize::MAX);
        }
    }
}
