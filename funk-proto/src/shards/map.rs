//! The replicated shard map: for each shard its owner, epoch and last change.

use crate::id::{BootId, Epoch, LogIndex, RaftId, ShardId};
use crate::mutate::{Mutant, planted};

/// One boot of one node, as an owner: a restart is a death and a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The node.
    pub id: RaftId,
    /// Its boot.
    pub boot: BootId,
}

/// Index into the owner table that stands for "nobody".
const NOBODY: u16 = u16::MAX;

/// The state of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardState {
    /// Who owns it.
    pub owner: Option<Owner>,
    /// Index of the entry that made it the owner.
    pub epoch: Epoch,
    /// Index of the last entry that changed this shard.
    pub change: LogIndex,
    /// Where it is going.
    pub moving_to: Option<Owner>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) owner: u16,
    pub(super) moving_to: u16,
    pub(super) epoch: u64,
    pub(super) change: u64,
}

/// The map as columns, see [`ShardMap::columns`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// For each shard the index of its owner.
    pub owners: Vec<Option<usize>>,
    /// For each shard its epoch.
    pub epochs: Vec<u64>,
    /// The shards that are moving, ascending.
    pub moving: Vec<ShardId>,
}

/// The replicated shard map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardMap {
    /// Owners by slot. A slot stays with its owner until the table is compacted.
    pub(super) owners: Vec<Owner>,
    pub(super) cells: Vec<Cell>,
    /// Index of the last entry that changed a shard.
    pub(super) epoch: Epoch,
    /// Shards owned, by slot.
    held: Vec<u32>,
}

impl ShardMap {
    /// A map of `shards` shards without owners.
    pub fn new(shards: u32) -> Self {
        let empty = Cell { owner: NOBODY, moving_to: NOBODY, epoch: 0, change: 0 };
        Self { cells: vec![empty; shards as usize], ..Self::default() }
    }

    pub(super) fn restore(owners: Vec<Owner>, cells: Vec<Cell>, epoch: Epoch) -> Option<Self> {
        let legal = |slot: u16| slot == NOBODY || usize::from(slot) < owners.len();
        if !cells.iter().all(|cell| legal(cell.owner) && legal(cell.moving_to)) {
            return None;
        }
        let mut held = vec![0; owners.len()];
        for cell in cells.iter().filter(|cell| cell.owner != NOBODY) {
            held[usize::from(cell.owner)] += 1;
        }
        Some(Self { owners, cells, epoch, held })
    }

    /// Shards of the cluster.
    pub fn shards(&self) -> u32 {
        u32::try_from(self.cells.len()).expect("the shard count is bounded")
    }

    /// The map epoch: index of the last entry that changed a shard.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn owner(&self, slot: u16) -> Option<Owner> {
        self.owners.get(usize::from(slot)).copied()
    }

    /// The state of a shard; `None` if there is no such shard.
    pub fn get(&self, shard: ShardId) -> Option<ShardState> {
        let cell = self.cells.get(shard.0 as usize)?;
        Some(ShardState {
            owner: self.owner(cell.owner),
            epoch: Epoch(cell.epoch),
            change: LogIndex(cell.change),
            moving_to: self.owner(cell.moving_to),
        })
    }

    /// All shards in order.
    pub fn iter(&self) -> impl Iterator<Item = (ShardId, ShardState)> + '_ {
        (0..self.shards()).map(ShardId).map(|shard| (shard, self.get(shard).expect("in range")))
    }

    /// The owners that the map names, and some that it named before.
    pub fn owners(&self) -> &[Owner] {
        &self.owners
    }

    /// The map as columns: for each shard the index of its owner in
    /// [`ShardMap::owners`] and its epoch; and the shards that are moving.
    pub fn columns(&self) -> Columns {
        let owner = |cell: &Cell| (cell.owner != NOBODY).then_some(usize::from(cell.owner));
        let closed =
            |cell: &Cell| cell.moving_to != NOBODY && !planted(Mutant::GateStaysOpen) && !planted(Mutant::MovedAtOnce);
        let moving = |(shard, cell): (u32, &Cell)| closed(cell).then_some(ShardId(shard));
        Columns {
            owners: self.cells.iter().map(owner).collect(),
            epochs: self.cells.iter().map(|cell| cell.epoch).collect(),
            moving: (0..).zip(&self.cells).filter_map(moving).collect(),
        }
    }

    /// How many shards a node has, of whatever boot.
    pub fn held_by_node(&self, id: RaftId) -> u32 {
        self.owners.iter().zip(&self.held).filter(|(owner, _)| owner.id == id).map(|(_, held)| held).sum()
    }

    /// How many shards an owner has.
    pub fn held_by(&self, owner: Owner) -> u32 {
        self.owners.iter().position(|slot| *slot == owner).map_or(0, |slot| self.held[slot])
    }

    fn slot(&mut self, owner: Owner) -> u16 {
        let at = self.owners.iter().position(|slot| *slot == owner).unwrap_or_else(|| {
            self.compact();
            self.owners.push(owner);
            self.held.push(0);
            self.owners.len() - 1
        });
        u16::try_from(at).expect("live owners are bounded by the member table")
    }

    /// Drops owners that no shard names, when there are many. Every node does
    /// it at the same entry, so the slots stay the same everywhere.
    fn compact(&mut self) {
        if self.owners.len() < 4 * crate::limits::RAFT_MEMBERS_MAX {
            return;
        }
        let mut used = vec![false; self.owners.len()];
        for slot in self.cells.iter().flat_map(|cell| [cell.owner, cell.moving_to]).filter(|&slot| slot != NOBODY) {
            used[usize::from(slot)] = true;
        }
        let mut renamed = vec![NOBODY; self.owners.len()];
        let (mut owners, mut held) = (Vec::new(), Vec::new());
        for (old, _) in used.iter().enumerate().filter(|(_, used)| **used) {
            renamed[old] = u16::try_from(owners.len()).expect("fewer than before");
            owners.push(self.owners[old]);
            held.push(self.held[old]);
        }
        let rename = |slot: u16| if slot == NOBODY { NOBODY } else { renamed[usize::from(slot)] };
        for cell in &mut self.cells {
            (cell.owner, cell.moving_to) = (rename(cell.owner), rename(cell.moving_to));
        }
        (self.owners, self.held) = (owners, held);
    }

    /// Starts the move of those of `shards` that did not change after `seen`,
    /// have an owner, and are not on their way yet. Returns them.
    pub fn start_move(&mut self, index: LogIndex, seen: LogIndex, to: Owner, shards: &[ShardId]) -> Vec<ShardId> {
        let slot = self.slot(to);
        self.change(index, seen, shards, |cell| {
            if cell.owner == NOBODY || cell.owner == slot || cell.moving_to != NOBODY {
                return false;
            }
            cell.moving_to = slot;
            if planted(Mutant::MovedAtOnce) {
                cell.owner = slot;
            }
            true
        })
    }

    /// Makes `to` the owner of those of `shards` that did not change after
    /// `seen`. Returns them with their former owners.
    pub fn set_owner(
        &mut self,
        index: LogIndex,
        seen: LogIndex,
        to: Owner,
        shards: &[ShardId],
    ) -> Vec<(ShardId, Option<Owner>)> {
        let slot = self.slot(to);
        let mut former = Vec::with_capacity(shards.len());
        let changed = self.change(index, seen, shards, |cell| {
            former.push(cell.owner);
            cell.owner = slot;
            cell.moving_to = NOBODY;
            if !planted(Mutant::EpochStays) || cell.epoch == 0 {
                cell.epoch = index.0;
            }
            true
        });
        for &old in &former {
            if old != NOBODY {
                self.held[usize::from(old)] -= 1;
            }
            self.held[usize::from(slot)] += 1;
        }
        let owners = &self.owners;
        changed.into_iter().zip(former.into_iter().map(|old| owners.get(usize::from(old)).copied())).collect()
    }

    fn change(
        &mut self,
        index: LogIndex,
        seen: LogIndex,
        shards: &[ShardId],
        mut apply: impl FnMut(&mut Cell) -> bool,
    ) -> Vec<ShardId> {
        let mut changed = Vec::with_capacity(shards.len());
        for &shard in shards {
            let Some(cell) = self.cells.get_mut(shard.0 as usize) else { continue };
            if (cell.change <= seen.0 || planted(Mutant::PlanOnOldMap)) && apply(cell) {
                cell.change = index.0;
                changed.push(shard);
            }
        }
        if !changed.is_empty() {
            self.epoch = Epoch(index.0);
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(n: u64) -> Owner {
        Owner { id: RaftId::new(n).unwrap(), boot: BootId::new(n).unwrap() }
    }

    fn all(shards: u32) -> Vec<ShardId> {
        (0..shards).map(ShardId).collect()
    }

    #[test]
    fn an_entry_that_did_not_see_the_last_change_does_nothing() {
        let mut map = ShardMap::new(4);
        map.set_owner(LogIndex(5), LogIndex(4), owner(1), &all(4));
        assert_eq!(map.set_owner(LogIndex(6), LogIndex(4), owner(2), &all(2)), []);
        assert_eq!(map.epoch(), Epoch(5));
        let taken = map.set_owner(LogIndex(7), LogIndex(5), owner(2), &all(2));
        assert_eq!(taken, [(ShardId(0), Some(owner(1))), (ShardId(1), Some(owner(1)))]);
        assert_eq!((map.held_by(owner(1)), map.held_by(owner(2))), (2, 2));
        assert_eq!(map.get(ShardId(0)).unwrap().epoch, Epoch(7));
    }

    #[test]
    fn a_move_keeps_owner_and_epoch_until_it_is_owned() {
        let mut map = ShardMap::new(2);
        map.set_owner(LogIndex(5), LogIndex(4), owner(1), &all(2));
        assert_eq!(map.start_move(LogIndex(6), LogIndex(5), owner(2), &all(1)), all(1));
        assert_eq!(map.start_move(LogIndex(7), LogIndex(6), owner(3), &all(1)), [], "it is on its way");
        let state = map.get(ShardId(0)).unwrap();
        assert_eq!((state.owner, state.moving_to), (Some(owner(1)), Some(owner(2))));
        assert_eq!((state.epoch, state.change), (Epoch(5), LogIndex(6)));
        map.set_owner(LogIndex(8), LogIndex(7), owner(3), &all(1));
        let state = map.get(ShardId(0)).unwrap();
        assert_eq!((state.owner, state.moving_to, state.epoch), (Some(owner(3)), None, Epoch(8)));
    }

    #[test]
    fn owners_that_are_gone_are_forgotten_in_time() {
        let mut map = ShardMap::new(1);
        for n in 1..5_000 {
            map.set_owner(LogIndex(n + 1), LogIndex(n), owner(n), &all(1));
        }
        assert!(map.owners.len() <= 4 * crate::limits::RAFT_MEMBERS_MAX);
        assert_eq!(map.get(ShardId(0)).unwrap().owner, Some(owner(4_999)));
        assert_eq!(map.held_by(owner(4_999)), 1);
    }
}
