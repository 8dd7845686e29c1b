//! The right to serve one shard.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use funk_proto::Timestamp;
use funk_proto::id::{Epoch, NodeName, ShardId};

use super::{Gate, Hold, Inflight};

/// The right to serve one shard, under one epoch. While it lives, a planned
/// move of the shard waits for it, for up to the node's drain timeout and the
/// rest of the lease. Nobody else serves the shard while it is valid.
///
/// Check [`ShardGuard::is_valid`] once more before an effect leaves the process.
#[derive(Debug)]
pub struct ShardGuard {
    gate: Arc<Gate>,
    shard: ShardId,
    epoch: Epoch,
    inflight: Inflight,
}

impl ShardGuard {
    pub(super) fn enter(gate: Arc<Gate>, shard: ShardId, epoch: Epoch, inflight: Inflight) -> Self {
        inflight[shard.0 as usize].fetch_add(1, Ordering::SeqCst);
        Self { gate, shard, epoch, inflight }
    }

    pub(super) fn inflight(&self) -> &Inflight {
        &self.inflight
    }

    /// The shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The shard's epoch. It never goes back, so a store that refuses smaller
    /// epochs is safe from every former owner.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// When the right ends, as known now. It grows as the lease is renewed, also
    /// while the shard is about to move, but not past the drain timeout of that
    /// move. [`Timestamp::ZERO`] when lost.
    pub fn valid_until(&self) -> Timestamp {
        match self.gate.hold(self.shard, self.epoch, &self.inflight) {
            Hold::Open(until) | Hold::Draining(until) => until,
            Hold::Lost => Timestamp::ZERO,
        }
    }

    /// Whether the right holds at this instant: reads table, lease and clock anew.
    pub fn is_valid(&self) -> bool {
        let until = self.valid_until();
        self.gate.now() < until
    }

    /// Waits while the right does not hold and may come back: the node's lease has lapsed, and the shard is still this
    /// node's under the same epoch, so nobody else served it meanwhile. True when it holds, false when it never will again.
    pub async fn holds(&self) -> bool {
        loop {
            let changed = self.gate.changed().listen();
            match self.gate.hold(self.shard, self.epoch, &self.inflight) {
                Hold::Lost => return false,
                Hold::Open(until) | Hold::Draining(until) if self.gate.now() < until => return true,
                Hold::Open(_) | Hold::Draining(_) if self.gate.sealed_until().is_some() => return false,
                Hold::Open(_) | Hold::Draining(_) => changed.await,
            }
        }
    }

    /// What the shard's former owner handed over with it, to whoever asks
    /// first. `None` if it gave nothing, or died: see [`Handover`](crate::Handover).
    pub fn take_state(&self) -> Option<Bytes> {
        self.gate.take_state(self.shard, self.epoch)
    }

    /// Ends when the shard begins to move away, or the right is lost: work
    /// that takes long should be ended then.
    pub async fn cancelled(&self) {
        loop {
            let changed = self.gate.changed().listen();
            match self.gate.hold(self.shard, self.epoch, &self.inflight) {
                Hold::Open(until) if self.gate.now() < until => changed.await,
                _ => return,
            }
        }
    }
}

impl Drop for ShardGuard {
    fn drop(&mut self) {
        self.gate.dropped(self.shard, &self.inflight);
    }
}

/// This node may not serve a shard now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotOwner {
    /// The shard.
    pub shard: ShardId,
    /// Its owner in the latest table, moving or not; `None` for no such shard.
    pub owner: Option<NodeName>,
    /// The shard's epoch in the latest table.
    pub epoch: Option<Epoch>,
    /// Why not here.
    pub why: NotOwnerReason,
}

/// Why a shard may not be served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotOwnerReason {
    /// Another node owns it: go there.
    Elsewhere,
    /// It is moving, or its owner is dead: wait for the next table.
    Pending,
    /// It is this node's, and the application is acquiring it: wait for that. See [`ShardState`](crate::ShardState).
    Acquiring,
    /// It is this node's, but the node has no lease now: wait for it.
    NoLease,
    /// There is no such shard.
    OutOfRange,
}

impl fmt::Display for NotOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shard = self.shard;
        match (self.why, &self.owner) {
            (NotOwnerReason::Elsewhere, Some(owner)) => write!(f, "shard {shard} is owned by {owner}"),
            (NotOwnerReason::Elsewhere, None) => write!(f, "shard {shard} is owned elsewhere"),
            (NotOwnerReason::Pending, _) => write!(f, "shard {shard} is changing hands"),
            (NotOwnerReason::Acquiring, _) => write!(f, "shard {shard} is ours, and is being acquired"),
            (NotOwnerReason::NoLease, _) => write!(f, "shard {shard} is ours, but no lease holds"),
            (NotOwnerReason::OutOfRange, _) => write!(f, "there is no shard {shard}"),
        }
    }
}

impl std::error::Error for NotOwner {}
