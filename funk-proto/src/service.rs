//! A user's service as a value: it is given what happened and returns what must be
//! done, so it runs under a simulator as well as in production.

use bytes::Bytes;

use crate::event::{Event, Outcome};
use crate::id::{Epoch, LogIndex, ShardId};
use crate::time::Timestamp;

/// The right to serve one shard, as it was when the request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// The shard's epoch, for fencing writes to a store.
    pub epoch: Epoch,
    /// When the right ends, unless the lease is renewed before.
    pub valid_until: Timestamp,
}

/// What happened to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceInput {
    /// The node told its application something.
    Node(Event),
    /// A request for a shard came in. It ends with an answer or a
    /// refusal of the same number.
    Request {
        /// Its number, unique for this boot.
        request: u64,
        /// The shard.
        shard: ShardId,
        /// The right to serve it; `None` if this node has none.
        right: Option<Right>,
        /// What is asked.
        bytes: Bytes,
    },
    /// A proposal of this service ended.
    Proposed {
        /// The number that the service gave it.
        tag: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// The state after all commits up to `index` is needed: answer with [`ServiceOutput::Snapshot`].
    SnapshotWanted {
        /// The index.
        index: LogIndex,
    },
    /// This state replaces all that was committed before.
    SnapshotInstalled {
        /// The index up to which it counts.
        index: LogIndex,
        /// The state.
        state: Bytes,
    },
    /// These shards are about to move to another owner and nobody has a right to them
    /// any more: answer with [`ServiceOutput::State`] for each. Only if state goes along.
    StateWanted {
        /// The move.
        change: LogIndex,
        /// The shards, ascending.
        shards: Vec<ShardId>,
    },
    /// A shard became this node's, and its previous owner handed this over.
    StateReceived {
        /// The shard.
        shard: ShardId,
        /// The shard's new epoch.
        epoch: Epoch,
        /// What it gave.
        state: Bytes,
    },
    /// The deadline of [`Service::poll_timeout`] has passed.
    Timeout,
}

/// What the service asks its node to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceOutput {
    /// Answer a request under its right: the answer goes out only if the right
    /// still holds, and the client sees a failure otherwise.
    Answer {
        /// The request's number.
        request: u64,
        /// The answer.
        bytes: Bytes,
    },
    /// Answer a request without a right: for what any node may say.
    Tell {
        /// The request's number.
        request: u64,
        /// The answer.
        bytes: Bytes,
    },
    /// Refuse a request: nothing of it was or will be done.
    Refuse {
        /// The request's number.
        request: u64,
    },
    /// Append to the replicated log.
    Propose {
        /// A number of the service's own, handed back with the outcome.
        tag: u64,
        /// What to append.
        bytes: Bytes,
    },
    /// The state for a shard's next owner.
    State {
        /// The move.
        change: LogIndex,
        /// The shard.
        shard: ShardId,
        /// The state; `None`: nothing.
        state: Option<Bytes>,
    },
    /// The state that was wanted.
    Snapshot {
        /// The index that was asked for.
        index: LogIndex,
        /// The state.
        state: Bytes,
    },
}

/// A service without sockets, clock and threads. One value is one process: a
/// crash drops it, a restart makes a new one.
pub trait Service {
    /// Takes in what happened. `now` is the node's own clock.
    fn handle(&mut self, input: ServiceInput, now: Timestamp);

    /// The next thing to do.
    fn poll_output(&mut self) -> Option<ServiceOutput>;

    /// When to hand in [`ServiceInput::Timeout`].
    fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }
}
