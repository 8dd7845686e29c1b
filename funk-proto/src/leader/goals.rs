//! The goals of operators' requests.

use std::ops::Range;

use crate::id::{Incarnation, NodeName, RaftId};
use crate::request::RequestId;
use crate::time::{Timestamp, earliest};

/// What must come to be, with the node's name as the operator gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// It is a member.
    Added(NodeName),
    /// It is in no table any more.
    Removed(NodeName),
    /// It owns no shard.
    Drained(NodeName),
    /// These shards are pinned to that node, or with `None` to none.
    Pinned(Range<u32>, Option<NodeName>),
    /// It has this weight.
    Weighed(NodeName, u32),
    /// Another voter leads.
    Leadership,
}

/// A goal that is pursued.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) request: RequestId,
    pub(super) goal: Goal,
    pub(super) until: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) enum Goal {
    Added(RaftId),
    Removed(RaftId),
    Drained(Incarnation),
    Pinned(Range<u32>, Option<NodeName>),
    Weighed(Incarnation, u32),
    Leadership,
}

/// All that this leader has under way, at most [`OPERATIONS_MAX`](crate::limits::OPERATIONS_MAX).
#[derive(Debug, Default)]
pub(super) struct Operations(pub(super) Vec<Operation>);

impl Operations {
    /// Whether the node with this id is to be let in.
    pub(super) fn adds(&self, id: RaftId) -> bool {
        self.0.iter().any(|operation| matches!(operation.goal, Goal::Added(added) if added == id))
    }

    /// Whether the member with this id is to be taken out.
    pub(super) fn removes(&self, id: RaftId) -> bool {
        self.0.iter().any(|operation| matches!(operation.goal, Goal::Removed(removed) if removed == id))
    }

    /// Whether another voter is to lead.
    pub(super) fn yield_leadership(&self) -> bool {
        self.0.iter().any(|operation| matches!(operation.goal, Goal::Leadership))
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.0.iter().map(|operation| Some(operation.until)).fold(None, earliest)
    }
}
