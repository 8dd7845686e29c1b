//! What a change would move, and pins, between their messages and the library's types.

use std::num::NonZeroU32;
use std::ops::Range;

use funk_proto::id::NodeName;
use funk_proto::shards::dry_run::{DryRun, WhatIf};

use super::pb;
use pb::plan_shards_request::Change;

/// Ranges of owners that an answer lists at most; a map in more pieces is told by its moves alone.
const RANGES_MAX: usize = crate::limits::CLUSTER_MESSAGE_RANGES_MAX;

fn name(id: &str) -> Result<NodeName, String> {
    id.parse().map_err(|_| format!("{id:?} is no node id: give 1 to 28 of A-Z a-z 0-9 . -"))
}

/// The shards of a message; the number of shards that there are is checked where it is known.
fn range(range: Option<&pb::ShardRange>) -> Result<Range<u32>, String> {
    let range = range.ok_or("no shards are named")?;
    let end = range.first.checked_add(range.count).filter(|&end| end > range.first);
    Ok(range.first..end.ok_or("the range of shards is none: its count is 1 or more")?)
}

/// What is to be pinned where; `None` frees it.
pub(super) fn pin(request: &pb::PinShardsRequest) -> Result<(Range<u32>, Option<NodeName>), String> {
    let node = if request.pinned_to.is_empty() { None } else { Some(name(&request.pinned_to)?) };
    Ok((range(request.shards.as_ref())?, node))
}

impl pb::PinShardsRequest {
    /// Pins these shards to `node`, or with `None` frees them.
    pub fn of(shards: &Range<u32>, node: Option<&NodeName>) -> Self {
        let count = shards.end.saturating_sub(shards.start);
        let shards = Some(pb::ShardRange { first: shards.start, count });
        Self { shards, pinned_to: super::text(node) }
    }
}

/// The change that is asked about.
pub(super) fn what_if(request: &pb::PlanShardsRequest) -> Result<WhatIf, String> {
    Ok(match &request.change {
        None => WhatIf::Nothing,
        Some(Change::Remove(id)) => WhatIf::Remove(name(id)?),
        Some(Change::Drain(id)) => WhatIf::Drain(name(id)?),
        Some(Change::Add(node)) => {
            WhatIf::Add { node: name(&node.node_id)?, weight: node.weight, capacity: NonZeroU32::new(node.capacity) }
        }
        Some(Change::Weight(node)) => WhatIf::Weight(name(&node.node_id)?, node.weight),
        Some(Change::Pin(request)) => {
            let (shards, node) = pin(request)?;
            WhatIf::Pin(shards, node)
        }
    })
}

/// What it would do, as a message of the node `me`.
pub(super) fn told(me: String, run: &DryRun) -> pb::PlanShardsResponse {
    let moves = run.moves.iter().map(|((from, to), &shards)| pb::ShardMoves {
        from: super::text(from.as_ref()),
        to: super::text(to.as_ref()),
        shards,
    });
    let mut owners: Vec<pb::OwnedRange> = Vec::new();
    let mut first = 0;
    for run_of_one in run.owners.chunk_by(|a, b| a == b) {
        let count = u32::try_from(run_of_one.len()).expect("the shard count is bounded");
        let node = run_of_one[0].map(|at| &run.nodes[usize::from(at)]);
        owners.push(pb::OwnedRange { shards: Some(pb::ShardRange { first, count }), node_id: super::text(node) });
        first += count;
    }
    if owners.len() > RANGES_MAX {
        owners.clear();
    }
    let held = |node: &NodeName| pb::ShardInfo {
        node_id: node.to_string(),
        shard_count: super::number(run.held(node)),
        drained: false,
    };
    pb::PlanShardsResponse {
        node_id: me,
        error: None,
        moves: moves.collect(),
        owners,
        over_capacity: run.over_capacity,
        nodes: run.nodes.iter().map(held).collect(),
    }
}
