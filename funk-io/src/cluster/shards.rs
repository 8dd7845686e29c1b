//! What an operator decides about shards: pins, weights, and what a change would move.

use std::ops::Range;

use funk_proto::Request;
use funk_proto::id::NodeName;
use funk_proto::shards::dry_run::{DryRun, WhatIf};

use super::Cluster;
use crate::error::{OperationError, Stopped};
use crate::shared::Command;

impl Cluster {
    /// On the leader: pins shards to a node. They move there, and stay while it is
    /// up and neither drained nor leaving; else they are assigned like all others,
    /// and [`Status::pins`](funk_proto::Status::pins) says that the pin is not
    /// honoured. A later pin of the same shards replaces this one. Resolves when the log says so.
    ///
    /// # Errors
    /// [`OperationError`]: this node does not lead, nobody has that name, the
    /// range is none, or the node's capacity is smaller than all that is pinned to it.
    pub async fn pin(&self, shards: Range<u32>, node: &NodeName) -> Result<(), OperationError> {
        self.operate(Request::Pin { shards, node: Some(node.clone()) }).await
    }

    /// On the leader: frees shards from whatever node they are pinned to. Resolves when the log says so.
    ///
    /// # Errors
    /// [`OperationError`]: this node does not lead, or the range is none.
    pub async fn unpin(&self, shards: Range<u32>) -> Result<(), OperationError> {
        self.operate(Request::Pin { shards, node: None }).await
    }

    /// On the leader: gives a member another weight, until it is started again.
    /// Resolves when the log says so; shards move after that.
    ///
    /// # Errors
    /// [`OperationError`]: this node does not lead, nobody has that name, it is
    /// down, or the weight is not 1 to [`WEIGHT_MAX`](funk_proto::limits::WEIGHT_MAX).
    pub async fn set_weight(&self, node: &NodeName, weight: u32) -> Result<(), OperationError> {
        self.operate(Request::SetWeight(node.clone(), weight)).await
    }

    /// Tells what a change would move, by the map that this node has applied,
    /// without making it. If the change is made next, exactly that happens.
    ///
    /// # Errors
    /// [`OperationError`] if the change could not be made, or this node is in no cluster.
    pub async fn plan(&self, change: WhatIf) -> Result<DryRun, OperationError> {
        let (reply, answer) = async_channel::bounded(1);
        self.shared.send(Command::Plan(change, reply)).await.map_err(|Stopped| OperationError::Stopped)?;
        Ok(answer.recv().await.map_err(|_| OperationError::Stopped)??)
    }
}
