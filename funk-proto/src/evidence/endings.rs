//! The processes that are known to have ended.

use std::collections::BTreeMap;

use crate::id::{BootId, Incarnation, RaftId};
use crate::limits::RAFT_MEMBERS_MAX;
use crate::mutate::{Mutant, planted};

/// How it is known that a boot has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The process said so, or one that waited for its end.
    Said,
    /// The node's next process holds what only one can: the node is coming back.
    Lock,
}

/// The boots that are known to have ended: the latest of each node.
#[derive(Debug, Default)]
pub(crate) struct Endings(BTreeMap<RaftId, (BootId, Proof)>);

impl Endings {
    pub(crate) fn proof(&self, owner: Incarnation) -> Option<Proof> {
        let (boot, proof) = *self.0.get(&owner.id)?;
        (boot == owner.boot || planted(Mutant::BootNotCompared)).then_some(proof)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (RaftId, BootId)> + '_ {
        self.0.iter().map(|(&id, &(boot, _))| (id, boot))
    }

    /// This process answers, so the lock that seemed to prove its end was that of a copied data directory.
    pub(crate) fn refute(&mut self, lives: Incarnation) {
        if self.0.get(&lives.id) == Some(&(lives.boot, Proof::Lock)) {
            self.0.remove(&lives.id);
        }
    }

    /// Takes it in; false if it was known.
    pub(crate) fn insert(&mut self, owner: Incarnation, proof: Proof) -> bool {
        if self.proof(owner) == Some(Proof::Said) {
            return false;
        }
        if self.0.len() >= RAFT_MEMBERS_MAX && !self.0.contains_key(&owner.id) {
            // What is forgotten is waited for: slower, and as safe.
            self.0.pop_first();
        }
        self.0.insert(owner.id, (owner.boot, proof)) != Some((owner.boot, proof))
    }
}
