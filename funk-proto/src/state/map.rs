//! The replicated shard map: for each shard its owner, epoch and last change.

use std::collections::{BTreeMap, BTreeSet};

use super::owner_index::{Group, OwnerIndex};
use crate::id::{Epoch, Incarnation, LogIndex, RaftId, ShardId};
use crate::mutate::{Mutant, planted};

/// Index into the owner table that stands for "nobody".
const NOBODY: u16 = u16::MAX;

/// The state of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardState {
    /// Who owns it.
    pub owner: Option<Incarnation>,
    /// Index of the entry that made it the owner.
    pub epoch: Epoch,
    /// Index of the last entry that changed this shard.
    pub change: LogIndex,
    /// Where it is going.
    pub moving_to: Option<Incarnation>,
}

/// A state that shards are in. An entry puts all shards that it names into one
/// state, or into few, so there are far fewer states than shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(super) owner: u16,
    pub(super) moving_to: u16,
    pub(super) epoch: u64,
    pub(super) change: u64,
}

impl Kind {
    /// Nobody ever had it.
    pub(super) const EMPTY: Self = Self { owner: NOBODY, moving_to: NOBODY, epoch: 0, change: 0 };
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
    pub(super) owners: Vec<Incarnation>,
    /// States by number. A number stays with its state while a shard is in it.
    pub(super) kinds: Vec<Kind>,
    /// Shards in each state.
    uses: Vec<u32>,
    /// Numbers of states that no shard is in, for new states: the lowest first,
    /// so that they are the same on every node.
    unused: BTreeSet<u32>,
    /// For each shard the number of its state.
    pub(super) cells: Vec<u32>,
    /// Index of the last entry that changed a shard.
    pub(super) epoch: Epoch,
    /// Shards owned, by slot.
    held: Vec<u32>,
}

impl ShardMap {
    /// A map of `shards` shards without owners.
    pub fn new(shards: u32) -> Self {
        let (kinds, uses) = (vec![Kind::EMPTY], vec![shards]);
        Self { cells: vec![0; shards as usize], kinds, uses, ..Self::default() }
    }

    /// A map of `shards` shards that lost their owners with the entry `epoch`.
    pub(crate) fn vacated(shards: u32, epoch: Epoch) -> Self {
        Self { epoch, ..Self::new(shards) }
    }

    /// The map from its parts; `None` if a state names an owner that is not
    /// there, or a shard a state. `uses` counts the shards in each state.
    pub(crate) fn restore(
        owners: Vec<Incarnation>,
        kinds: Vec<Kind>,
        cells: Vec<u32>,
        uses: Vec<u32>,
        epoch: Epoch,
    ) -> Option<Self> {
        let legal = |slot: u16| slot == NOBODY || usize::from(slot) < owners.len();
        if !kinds.iter().all(|kind| legal(kind.owner) && legal(kind.moving_to)) {
            return None;
        }
        let mut held = vec![0; owners.len()];
        for (kind, shards) in kinds.iter().zip(&uses).filter(|(kind, _)| kind.owner != NOBODY) {
            held[usize::from(kind.owner)] += shards;
        }
        let unused = (0..).zip(&uses).filter(|&(_, &shards)| shards == 0).map(|(number, _)| number).collect();
        Some(Self { owners, kinds, uses, unused, cells, epoch, held })
    }

    /// Shards of the cluster.
    pub fn shards(&self) -> u32 {
        u32::try_from(self.cells.len()).expect("the shard count is bounded")
    }

    /// The map epoch: index of the last entry that changed a shard.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn owner(&self, slot: u16) -> Option<Incarnation> {
        self.owners.get(usize::from(slot)).copied()
    }

    /// The state of a shard; `None` if there is no such shard.
    pub fn get(&self, shard: ShardId) -> Option<ShardState> {
        Some(self.state(self.kinds[*self.cells.get(shard.0 as usize)? as usize]))
    }

    fn state(&self, kind: Kind) -> ShardState {
        ShardState {
            owner: self.owner(kind.owner),
            epoch: Epoch(kind.epoch),
            change: LogIndex(kind.change),
            moving_to: self.owner(kind.moving_to),
        }
    }

    /// All shards in order.
    pub fn iter(&self) -> impl Iterator<Item = (ShardId, ShardState)> + '_ {
        (0..).map(ShardId).zip(self.cells.iter().map(|&cell| self.state(self.kinds[cell as usize])))
    }

    /// The owners that the map names, and some that it named before.
    pub fn owners(&self) -> &[Incarnation] {
        &self.owners
    }

    /// The map as columns: for each shard the index of its owner in
    /// [`ShardMap::owners`] and its epoch; and the shards that are moving.
    pub fn columns(&self) -> Columns {
        let owner = |kind: &Kind| (kind.owner != NOBODY).then_some(usize::from(kind.owner));
        let closed =
            |kind: &Kind| kind.moving_to != NOBODY && !planted(Mutant::GateStaysOpen) && !planted(Mutant::MovedAtOnce);
        let kinds = || self.cells.iter().map(|&cell| &self.kinds[cell as usize]);
        let moving = |(shard, kind): (u32, &Kind)| closed(kind).then_some(ShardId(shard));
        Columns {
            owners: kinds().map(owner).collect(),
            epochs: kinds().map(|kind| kind.epoch).collect(),
            moving: (0..).zip(kinds()).filter_map(moving).collect(),
        }
    }

    /// For each shard the index of its group: those that whoever has them, or is about to, got at one time.
    pub(crate) fn groups(&self, target: impl Fn(Incarnation) -> OwnerIndex) -> (&[u32], Vec<Group>) {
        let group = |(kind, &uses): (&Kind, &u32)| {
            let slot = if kind.moving_to == NOBODY { kind.owner } else { kind.moving_to };
            let owner = self.owner(slot).map_or(OwnerIndex::NOBODY, &target);
            Group { owner, since: kind.change, shards: uses as usize }
        };
        (&self.cells, self.kinds.iter().zip(&self.uses).map(group).collect())
    }

    /// The nodes that have a shard, of whatever boot, and those to which one is on its way since an entry
    /// that `counts`.
    pub(crate) fn involved(&self, counts: impl Fn(Incarnation, LogIndex) -> bool) -> BTreeSet<RaftId> {
        let used = self.kinds.iter().zip(&self.uses).filter(|(_, uses)| **uses > 0);
        let on_its_way = |kind: &Kind| self.owner(kind.moving_to).filter(|&to| counts(to, LogIndex(kind.change)));
        used.flat_map(|(kind, _)| [self.owner(kind.owner), on_its_way(kind)]).flatten().map(|owner| owner.id).collect()
    }

    /// The owners that are to give shards up, each with the last entry that says so.
    pub fn movers(&self) -> BTreeMap<Incarnation, LogIndex> {
        let used = self.kinds.iter().zip(&self.uses).filter(|(_, uses)| **uses > 0).map(|(kind, _)| kind);
        let mut movers = BTreeMap::new();
        for kind in used.filter(|kind| self.owner(kind.moving_to).is_some()) {
            if let Some(owner) = self.owner(kind.owner) {
                let last = movers.entry(owner).or_insert(LogIndex(0));
                *last = (*last).max(LogIndex(kind.change));
            }
        }
        movers
    }

    /// How many shards a node has, of whatever boot.
    pub fn held_by_node(&self, id: RaftId) -> u32 {
        self.owners.iter().zip(&self.held).filter(|(owner, _)| owner.id == id).map(|(_, held)| held).sum()
    }

    /// How many shards an owner has.
    pub fn held_by(&self, owner: Incarnation) -> u32 {
        self.owners.iter().position(|slot| *slot == owner).map_or(0, |slot| self.held[slot])
    }

    fn slot(&mut self, owner: Incarnation) -> u16 {
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
        for slot in self.kinds.iter().flat_map(|kind| [kind.owner, kind.moving_to]).filter(|&slot| slot != NOBODY) {
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
        for kind in &mut self.kinds {
            (kind.owner, kind.moving_to) = (rename(kind.owner), rename(kind.moving_to));
        }
        (self.owners, self.held) = (owners, held);
    }

    /// Starts the move of those of `shards` that did not change after `seen`,
    /// have an owner, and are not on their way yet. Returns them.
    pub fn start_move(&mut self, index: LogIndex, seen: LogIndex, to: Incarnation, shards: &[ShardId]) -> Vec<ShardId> {
        let slot = self.slot(to);
        let moved = self.change(index, seen, shards, |kind| {
            let idle = kind.owner != NOBODY && kind.owner != slot && kind.moving_to == NOBODY;
            let owner = if planted(Mutant::MovedAtOnce) { slot } else { kind.owner };
            idle.then_some(Kind { owner, moving_to: slot, ..kind })
        });
        moved.into_iter().map(|(shard, _)| shard).collect()
    }

    /// Makes `to` the owner of those of `shards` that did not change after
    /// `seen`. Returns them with their former owners.
    pub fn set_owner(
        &mut self,
        index: LogIndex,
        seen: LogIndex,
        to: Incarnation,
        shards: &[ShardId],
    ) -> Vec<(ShardId, Option<Incarnation>)> {
        let slot = self.slot(to);
        let changed = self.change(index, seen, shards, |kind| {
            let keeps = planted(Mutant::EpochStays) && kind.epoch != 0;
            let epoch = if keeps { kind.epoch } else { index.0 };
            Some(Kind { owner: slot, moving_to: NOBODY, epoch, change: 0 })
        });
        changed.into_iter().map(|(shard, former)| (shard, self.owner(former))).collect()
    }

    /// Puts those of `shards` that did not change after `seen` into the states
    /// that `next` gives. Returns them with the slots of their former owners.
    fn change(
        &mut self,
        index: LogIndex,
        seen: LogIndex,
        shards: &[ShardId],
        next: impl Fn(Kind) -> Option<Kind>,
    ) -> Vec<(ShardId, u16)> {
        let mut changed = Vec::with_capacity(shards.len());
        // What becomes of each former state, and the numbers of the new ones.
        let mut fates = BTreeMap::<u32, Option<u32>>::new();
        let mut made = BTreeMap::<Kind, u32>::new();
        for &shard in shards {
            let Some(&from) = self.cells.get(shard.0 as usize) else { continue };
            let kind = self.kinds[from as usize];
            let fate = *fates.entry(from).or_insert_with(|| {
                let current = kind.change <= seen.0 || planted(Mutant::PlanOnOldMap);
                let kind = Kind { change: index.0, ..next(kind).filter(|_| current)? };
                Some(*made.entry(kind).or_insert_with(|| make(&mut self.kinds, &mut self.uses, &mut self.unused, kind)))
            });
            let Some(to) = fate else { continue };
            self.cells[shard.0 as usize] = to;
            self.uses[from as usize] -= 1;
            self.uses[to as usize] += 1;
            changed.push((shard, kind.owner));
        }
        self.note_changes(index, &changed, fates.keys().copied(), made);
        changed
    }

    fn note_changes(
        &mut self,
        index: LogIndex,
        changed: &[(ShardId, u16)],
        former: impl Iterator<Item = u32>,
        made: BTreeMap<Kind, u32>,
    ) {
        for (kind, number) in made {
            if kind.owner != NOBODY {
                self.held[usize::from(kind.owner)] += self.uses[number as usize];
            }
        }
        for &(_, owner) in changed.iter().filter(|(_, owner)| *owner != NOBODY) {
            self.held[usize::from(owner)] -= 1;
        }
        for number in former.filter(|&number| self.uses[number as usize] == 0) {
            self.kinds[number as usize] = Kind::EMPTY;
            self.unused.insert(number);
        }
        if !changed.is_empty() {
            self.epoch = Epoch(index.0);
        }
    }
}

/// Gives a new state a number.
fn make(kinds: &mut Vec<Kind>, uses: &mut Vec<u32>, unused: &mut BTreeSet<u32>, kind: Kind) -> u32 {
    if let Some(number) = unused.pop_first() {
        kinds[number as usize] = kind;
        return number;
    }
    kinds.push(kind);
    uses.push(0);
    u32::try_from(kinds.len() - 1).expect("no more states than shards, and one entry's")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::BootId;

    fn owner(n: u64) -> Incarnation {
        Incarnation { id: RaftId::new(n).unwrap(), boot: BootId::new(n).unwrap() }
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

    /// A shard as it would be without the numbers: who has it since when, changed
    /// last when, and on its way to whom.
    type Plain = (Option<Incarnation>, u64, u64, Option<Incarnation>);

    fn plain(map: &ShardMap) -> Vec<Plain> {
        map.iter().map(|(_, shard)| (shard.owner, shard.epoch.0, shard.change.0, shard.moving_to)).collect()
    }

    proptest::proptest! {
        #[test]
        fn shards_in_common_states_behave_as_if_each_had_its_own(
            steps in proptest::collection::vec(
                (proptest::bool::ANY, 0u64..3, 1u64..5, proptest::collection::btree_set(0u32..20, 0..20)), 0..40),
        ) {
            let mut map = ShardMap::new(20);
            let mut model: Vec<Plain> = plain(&map);
            for ((give, late, to, shards), index) in steps.into_iter().zip(4..) {
                let (to, seen) = (owner(to), index - 1 - late);
                let shards: Vec<ShardId> = shards.into_iter().map(ShardId).collect();
                if give {
                    map.set_owner(LogIndex(index), LogIndex(seen), to, &shards);
                } else {
                    map.start_move(LogIndex(index), LogIndex(seen), to, &shards);
                }
                for shard in &shards {
                    let shard = &mut model[shard.0 as usize];
                    match *shard {
                        (_, _, change, _) if change > seen => {}
                        _ if give => *shard = (Some(to), index, index, None),
                        (Some(from), epoch, _, None) if from != to => *shard = (Some(from), epoch, index, Some(to)),
                        _ => {}
                    }
                }
                proptest::prop_assert_eq!(&plain(&map), &model);
                let used = map.cells.iter().collect::<BTreeSet<_>>().len();
                proptest::prop_assert_eq!(used + map.unused.len(), map.kinds.len());
                for n in 1..5 {
                    let held = model.iter().filter(|shard| shard.0 == Some(owner(n))).count();
                    proptest::prop_assert_eq!(map.held_by(owner(n)) as usize, held);
                }
            }
            let mut uses = vec![0; map.kinds.len()];
            map.cells.iter().for_each(|&cell| uses[cell as usize] += 1);
            let (owners, kinds, cells) = (map.owners.clone(), map.kinds.clone(), map.cells.clone());
            proptest::prop_assert_eq!(ShardMap::restore(owners, kinds, cells, uses, map.epoch), Some(map));
        }
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
