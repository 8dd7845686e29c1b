//! The application's own state on the cluster's log.

use bytes::Bytes;
use funk_proto::id::LogIndex;

/// A state that every node builds from the same proposals in the same order.
///
/// Its methods are called on the driver's thread, which also sends the
/// heartbeats: they must not block, and a snapshot should take milliseconds. A
/// state too large for that belongs into a store of its own, which is written
/// from [`apply`](StateMachine::apply)'s entries elsewhere.
///
/// A node that starts again from its data directory restores the last
/// snapshot and applies what was committed after it, so the state need not be
/// kept anywhere else.
pub trait StateMachine: Send + std::fmt::Debug + 'static {
    /// A proposal is committed; each index comes once, in order.
    fn apply(&mut self, index: LogIndex, bytes: &Bytes);

    /// The whole state after the last [`apply`](StateMachine::apply), at most
    /// 256 MiB with the cluster's own.
    fn snapshot(&mut self) -> Bytes;

    /// Replaces the whole state by one that `snapshot` gave, here or on another
    /// node; `index` is the last that it contains.
    fn restore(&mut self, index: LogIndex, state: &Bytes);
}
