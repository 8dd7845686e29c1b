//! The node.
use std::sync::Arc;

use crate::config::NodeConfig;
use crate::error::{ConfigError, RequestError};
use crate::io::{Input, Output, Recovered};
use crate::request::{Request, RequestId};
use crate::rng::Seed;
use crate::shards::RouteTable;
use crate::status::Status;
use crate::time::Timestamp;

/// One node of a cluster, without its sockets, clock and disk.
#[derive(Debug)]
pub struct Node {}

#[allow(clippy::todo, clippy::needless_pass_by_value)]
impl Node {
    /// A node that has done nothing yet.
    pub fn new(_config: NodeConfig, _recovered: Recovered, _seed: Seed, _now: Timestamp) -> Result<Node, ConfigError> {
        todo!()
    }
    /// Takes in what happened.
    pub fn handle(&mut self, _now: Timestamp, _input: Input) {
        todo!()
    }
    /// Takes a request of the application.
    pub fn request(&mut self, _now: Timestamp, _request: Request) -> Result<RequestId, RequestError> {
        todo!()
    }
    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        todo!()
    }
    /// When to hand in `Input::Timeout`; the last `now` while outputs wait.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        todo!()
    }
    /// What this node is doing.
    pub fn status(&self) -> Status {
        todo!()
    }
    /// Grows with every change of [`Node::routes`].
    pub fn route_version(&self) -> u64 {
        todo!()
    }
    /// The applied map, ready to be published.
    pub fn routes(&self) -> Arc<RouteTable> {
        todo!()
    }
    /// This node may serve its shards while its clock reads less.
    pub fn lease_until(&self) -> Timestamp {
        todo!()
    }
}
