//! The route table: an immutable snapshot of the applied map, published to
//! every caller's own thread.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::id::{BootId, Epoch, NodeName, RaftId, ShardId, WorkerId};

/// A node that owns shards, or did when the table was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteNode {
    /// Its Raft id.
    pub id: RaftId,
    /// The boot that owns.
    pub boot: BootId,
    /// Its name.
    pub name: NodeName,
    /// Its endpoints by name.
    pub endpoints: BTreeMap<String, SocketAddr>,
    /// Whether the cluster considers this boot up.
    pub up: bool,
    /// Whether it is about to leave, in order: what it has begun it still answers.
    pub leaving: bool,
}

/// Index into [`RouteTable::nodes`] that stands for "nobody".
const NOBODY: u16 = u16::MAX;

/// A shard's line of the table: all that a look-up needs is in one place of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    epoch: u64,
    owner: u16,
    course: Course,
}

/// Where a shard's requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Here,
    There,
    Nowhere,
}

/// An immutable snapshot of the applied shard map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTable {
    epoch: Epoch,
    nodes: Vec<RouteNode>,
    lines: Vec<Line>,
    worker: Option<WorkerId>,
}

/// Where a shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// This very process owns it, with this shard epoch. It may serve while its lease holds.
    Here(Epoch),
    /// Another node owns it.
    There(&'a RouteNode, Epoch),
    /// It is between two owners, or its owner is dead: wait for the next table.
    Pending,
    /// There is no such shard.
    OutOfRange,
}

impl RouteTable {
    /// A table of `owners.len()` shards. `owners[s]` indexes `nodes`
    /// (`None`: nobody), `epochs[s]` is the shard's epoch, `closed` names the
    /// shards that are moving, and `me` is the index of this very boot.
    pub fn new(
        epoch: Epoch,
        nodes: Vec<RouteNode>,
        me: Option<usize>,
        owners: impl IntoIterator<Item = Option<usize>>,
        epochs: Vec<u64>,
        closed: impl IntoIterator<Item = ShardId>,
    ) -> Self {
        let slot = |index: usize| u16::try_from(index).expect("the member table is bounded far below 65,535");
        let course = |owner: Option<usize>| match owner {
            Some(owner) if me == Some(owner) => Course::Here,
            Some(owner) if nodes[owner].up => Course::There,
            _ => Course::Nowhere,
        };
        let line = |(owner, epoch): (Option<usize>, u64)| Line {
            epoch,
            owner: owner.map_or(NOBODY, slot),
            course: course(owner),
        };
        let shards = epochs.len();
        let mut lines: Vec<Line> = owners.into_iter().zip(epochs).map(line).collect();
        assert_eq!(lines.len(), shards, "an owner for each epoch");
        for shard in closed {
            lines[shard.0 as usize].course = Course::Nowhere;
        }
        Self { epoch, nodes, lines, worker: None }
    }

    /// The same, with this boot's worker id.
    #[must_use]
    pub fn with_worker(self, worker: Option<WorkerId>) -> Self {
        Self { worker, ..self }
    }

    /// This boot's worker id, which it may use while its lease holds.
    pub fn worker(&self) -> Option<WorkerId> {
        self.worker
    }

    /// The map epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Shards of the cluster; 0 before the map is known.
    pub fn shards(&self) -> u32 {
        u32::try_from(self.lines.len()).expect("the shard count is bounded")
    }

    /// The nodes that the table names.
    pub fn nodes(&self) -> &[RouteNode] {
        &self.nodes
    }

    /// Where a shard is.
    #[inline]
    pub fn place(&self, shard: ShardId) -> Place<'_> {
        let Some(line) = self.lines.get(shard.0 as usize) else { return Place::OutOfRange };
        match line.course {
            Course::There => Place::There(&self.nodes[usize::from(line.owner)], Epoch(line.epoch)),
            Course::Here => Place::Here(Epoch(line.epoch)),
            Course::Nowhere => Place::Pending,
        }
    }

    /// The owner of a shard and its epoch, moving or not.
    pub fn owner(&self, shard: ShardId) -> Option<(&RouteNode, Epoch)> {
        let node = &self.nodes[self.owner_index(shard)?];
        Some((node, Epoch(self.lines[shard.0 as usize].epoch)))
    }

    /// The owner of a shard as an index in [`RouteTable::nodes`], moving or not.
    pub fn owner_index(&self, shard: ShardId) -> Option<usize> {
        let owner = usize::from(self.lines.get(shard.0 as usize)?.owner);
        (owner < self.nodes.len()).then_some(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64, up: bool) -> RouteNode {
        RouteNode {
            id: RaftId::new(id).unwrap(),
            boot: BootId::new(id).unwrap(),
            name: format!("n{id}").parse().unwrap(),
            endpoints: BTreeMap::new(),
            up,
            leaving: false,
        }
    }

    #[test]
    fn every_place_is_told_apart() {
        let owners = [Some(0), Some(1), Some(2), None, Some(0)];
        let nodes = vec![node(1, true), node(2, true), node(3, false)];
        let table = RouteTable::new(Epoch(9), nodes, Some(0), owners, vec![5, 6, 7, 0, 8], [ShardId(4)]);
        assert_eq!(table.place(ShardId(0)), Place::Here(Epoch(5)));
        assert!(matches!(table.place(ShardId(1)), Place::There(n, Epoch(6)) if n.name.as_str() == "n2"));
        assert_eq!(table.place(ShardId(2)), Place::Pending, "its owner is dead");
        assert_eq!(table.place(ShardId(3)), Place::Pending, "it has no owner");
        assert_eq!(table.place(ShardId(4)), Place::Pending, "it is moving");
        assert_eq!(table.place(ShardId(5)), Place::OutOfRange);
        assert_eq!(table.owner(ShardId(4)).unwrap().1, Epoch(8));
    }
}
