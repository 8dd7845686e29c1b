//! What the application asks of its node.

use std::net::SocketAddr;

use bytes::Bytes;

/// A request's number, unique for this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What the application asks of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Append `bytes` to the replicated log. Ends with
    /// [`Event::RequestDone`](crate::event::Event::RequestDone).
    Propose(Bytes),
    /// Join through these gossip addresses, in addition to the configured ones.
    Join(Vec<SocketAddr>),
    /// Drain, hand leadership over, leave. Ends with [`Event::Left`](crate::event::Event::Left).
    Leave,
    /// Publish, move or (with `None`) withdraw an endpoint of the service.
    SetEndpoint {
        /// Its name, `ep.*`.
        name: String,
        /// Its address.
        address: Option<SocketAddr>,
    },
    /// Hand leadership to another voter. Does nothing on a node that does not lead.
    StepDown,
}
