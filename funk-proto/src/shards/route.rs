//! The route table: an immutable picture of the applied map, published to
//! every caller's own thread.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::id::{BootId, Epoch, NodeName, RaftId, ShardId};

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
    /// Whether the cluster holds this boot for up.
    pub up: bool,
}

/// Index into [`RouteTable::nodes`] that stands for "nobody".
const NOBODY: u16 = u16::MAX;

/// An immutable picture of the applied shard map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTable {
    epoch: Epoch,
    nodes: Vec<RouteNode>,
    me: Option<u16>,
    owners: Vec<u16>,
    epochs: Vec<u64>,
    closed: Vec<u64>,
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
        let owners: Vec<u16> = owners.into_iter().map(|owner| owner.map_or(NOBODY, slot)).collect();
        assert_eq!(owners.len(), epochs.len(), "one epoch for each shard");
        let mut bits = vec![0; owners.len().div_ceil(64)];
        for shard in closed {
            bits[shard.0 as usize / 64] |= 1 << (shard.0 % 64);
        }
        Self { epoch, nodes, me: me.map(slot), owners, epochs, closed: bits }
    }

    /// The map epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Shards of the cluster; 0 before the map is known.
    pub fn shards(&self) -> u32 {
        u32::try_from(self.owners.len()).expect("the shard count is bounded")
    }

    /// The nodes that the table names.
    pub fn nodes(&self) -> &[RouteNode] {
        &self.nodes
    }

    /// Where a shard is.
    #[inline]
    pub fn place(&self, shard: ShardId) -> Place<'_> {
        let at = shard.0 as usize;
        let Some(&owner) = self.owners.get(at) else { return Place::OutOfRange };
        if owner == NOBODY || self.closed[at / 64] >> (at % 64) & 1 == 1 {
            return Place::Pending;
        }
        let epoch = Epoch(self.epochs[at]);
        if self.me == Some(owner) {
            return Place::Here(epoch);
        }
        match &self.nodes[usize::from(owner)] {
            node if node.up => Place::There(node, epoch),
            _ => Place::Pending,
        }
    }

    /// The owner of a shard and its epoch, moving or not.
    pub fn owner(&self, shard: ShardId) -> Option<(&RouteNode, Epoch)> {
        let node = &self.nodes[self.owner_index(shard)?];
        Some((node, Epoch(self.epochs[shard.0 as usize])))
    }

    /// The owner of a shard as an index in [`RouteTable::nodes`], moving or not.
    pub fn owner_index(&self, shard: ShardId) -> Option<usize> {
        let owner = *self.owners.get(shard.0 as usize)?;
        (usize::from(owner) < self.nodes.len()).then_some(owner.into())
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
