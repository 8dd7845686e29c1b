//! Worker ids: small numbers that no two live members share, for ids that are
//! unique without asking anybody (a time, a worker id, a counter).
//!
//! The log gives a boot the lowest free one when it is up. The number stays
//! taken when the boot is dead: it may still hold a lease, and clocks from
//! which times are taken differ. The leader waits for both, and then frees it
//! by an entry of its own.

use std::collections::BTreeMap;

use crate::id::{Incarnation, WorkerId};
use crate::limits::WORKER_IDS_MAX;
use crate::wire::cluster::WorkerRecord;

/// Who has which worker id, and whose are not free yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workers(BTreeMap<WorkerId, Incarnation>);

impl Workers {
    /// The worker id of a boot.
    pub fn of(&self, owner: Incarnation) -> Option<WorkerId> {
        self.iter().find(|&(_, holder)| holder == owner).map(|(id, _)| id)
    }

    /// All that are taken, in order.
    pub fn iter(&self) -> impl Iterator<Item = (WorkerId, Incarnation)> {
        self.0.iter().map(|(&id, &owner)| (id, owner))
    }

    /// Gives a boot the lowest free id, unless it has one. None if all are taken.
    pub(super) fn give(&mut self, owner: Incarnation) -> Option<WorkerId> {
        if let Some(id) = self.of(owner) {
            return Some(id);
        }
        let id = (0..WORKER_IDS_MAX).map(WorkerId).find(|id| !self.0.contains_key(id))?;
        self.0.insert(id, owner);
        Some(id)
    }

    /// Frees an id that this boot has. True if it was that boot's.
    pub(super) fn free(&mut self, id: WorkerId, owner: Incarnation) -> bool {
        let same = self.0.get(&id) == Some(&owner);
        if same {
            self.0.remove(&id);
        }
        same
    }

    /// What a saved state says, in ascending order; `None` if it cannot be.
    pub(super) fn restore(taken: Vec<(WorkerId, Incarnation)>) -> Option<Self> {
        let ascend = taken.is_sorted_by(|(one, _), (next, _)| one < next);
        let bounded = taken.last().is_none_or(|(id, _)| id.0 < WORKER_IDS_MAX);
        let mut owners: Vec<Incarnation> = taken.iter().map(|&(_, owner)| owner).collect();
        owners.sort_unstable();
        let once = owners.is_sorted_by(|one, next| one < next);
        (ascend && bounded && once).then(|| Self(taken.into_iter().collect()))
    }
}

/// A worker id as it is written.
pub(crate) fn worker_record(worker: WorkerId, owner: Incarnation) -> WorkerRecord {
    WorkerRecord { worker: worker.0.into(), id: owner.id.get(), boot: owner.boot.get() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{BootId, RaftId};

    fn owner(n: u64) -> Incarnation {
        Incarnation { id: RaftId::new(n).unwrap(), boot: BootId::new(n).unwrap() }
    }

    #[test]
    fn the_lowest_free_id_is_given_and_kept() {
        let mut workers = Workers::default();
        assert_eq!((workers.give(owner(1)), workers.give(owner(2))), (Some(WorkerId(0)), Some(WorkerId(1))));
        assert_eq!(workers.give(owner(1)), Some(WorkerId(0)));
        assert!(!workers.free(WorkerId(0), owner(2)) && workers.free(WorkerId(0), owner(1)));
        assert_eq!((workers.give(owner(3)), workers.of(owner(1))), (Some(WorkerId(0)), None));
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let mut workers = Workers::default();
        for n in 1..=u64::from(WORKER_IDS_MAX) {
            assert!(workers.give(owner(n)).is_some());
        }
        assert_eq!(workers.give(owner(5_000)), None);
    }

    #[test]
    fn a_saved_state_names_each_id_and_each_owner_once() {
        let restored = |taken: &[(u16, u64)]| {
            let taken = taken.iter().map(|&(id, n)| (WorkerId(id), owner(n))).collect();
            Workers::restore(taken).map(|workers| workers.iter().count())
        };
        assert_eq!(restored(&[]), Some(0));
        assert_eq!(restored(&[(0, 9), (3, 1), (WORKER_IDS_MAX - 1, 4)]), Some(3));
        assert_eq!((restored(&[(1, 1), (1, 2)]), restored(&[(2, 1), (1, 2)])), (None, None));
        assert_eq!((restored(&[(0, 1), (1, 1)]), restored(&[(WORKER_IDS_MAX, 1)])), (None, None));
    }
}
