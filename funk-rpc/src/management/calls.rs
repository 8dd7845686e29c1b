//! What only the leader can do, asked for by the process that this node runs in.

use std::fmt;
use std::ops::Range;

use funk_io::Runtime;
use funk_proto::id::NodeName;

use super::Management;
use super::change::Change;
use crate::limits::CALLER_WAIT_MAX;
use crate::pb::managepb::error::Code;

/// Why a change of the cluster was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManagementError {
    /// Nobody leads: nothing was done. Ask again once there is a leader.
    NoLeader(String),
    /// Nobody has this name: nothing was done.
    UnknownMember(String),
    /// It cannot be done: why, and what to do. Nothing was done.
    Refused(String),
    /// The leader was lost, or did not answer in time: it may or may not be done. Look before you ask again.
    Unknown(String),
    /// This node has stopped: it may or may not be done.
    Stopped,
}

impl fmt::Display for ManagementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLeader(why) | Self::UnknownMember(why) | Self::Refused(why) | Self::Unknown(why) => {
                f.write_str(why)
            }
            Self::Stopped => f.write_str("this node has stopped"),
        }
    }
}

impl std::error::Error for ManagementError {}

/// Calls that any node takes: what only the leader can do is passed on to it. Each takes a minute at most, and what
/// the leader did is applied here too when it returns.
impl<N: Runtime> Management<N> {
    /// Admits a node that gossip knows and that waits for it, where nodes are not admitted by themselves.
    ///
    /// # Errors
    /// [`ManagementError`] says whether anything was done.
    pub async fn add_member(&self, name: &NodeName) -> Result<(), ManagementError> {
        self.call(Change::Add(name.clone())).await
    }

    /// Takes a member out: a dead one at once, one that is up when its shards have moved away. Its process is told, and stops.
    ///
    /// # Errors
    /// [`ManagementError`] says whether anything was done.
    pub async fn remove_member(&self, name: &NodeName) -> Result<(), ManagementError> {
        self.call(Change::Remove(name.clone())).await
    }

    /// Moves a member's shards away. It stays a member, and gets none until it is started again.
    ///
    /// # Errors
    /// [`ManagementError`] says whether anything was done.
    pub async fn drain(&self, name: &NodeName) -> Result<(), ManagementError> {
        self.call(Change::Drain(name.clone())).await
    }

    /// Moves these shards to `node`, and keeps them there while it is up.
    ///
    /// # Errors
    /// [`ManagementError`] says whether anything was done.
    pub async fn pin(&self, shards: Range<u32>, node: &NodeName) -> Result<(), ManagementError> {
        self.call(Change::Pin(shards, Some(node.clone()))).await
    }

    /// Lets these shards move again.
    ///
    /// # Errors
    /// [`ManagementError`] says whether anything was done.
    pub async fn unpin(&self, shards: Range<u32>) -> Result<(), ManagementError> {
        self.call(Change::Pin(shards, None)).await
    }

    /// Hands leadership over.
    ///
    /// # Errors
    /// [`ManagementError`] says whether anything was done.
    pub async fn step_down(&self) -> Result<(), ManagementError> {
        self.call(Change::StepDown).await
    }

    async fn call(&self, change: Change) -> Result<(), ManagementError> {
        let changed = self.change_within(&change, CALLER_WAIT_MAX, false, &self.own_process()).await;
        let Some(error) = changed.map_err(|_| ManagementError::Stopped)?.error else { return Ok(()) };
        let code = error.error_code();
        let why = error.message;
        Err(match code {
            Code::NoLeader => ManagementError::NoLeader(why),
            Code::UnknownId => ManagementError::UnknownMember(why),
            Code::Invalid => ManagementError::Refused(why),
            _ => ManagementError::Unknown(why),
        })
    }
}
