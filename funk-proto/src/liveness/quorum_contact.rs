//! A leader that hears nobody. Its heartbeats may still arrive, and while they
//! do no follower looks for another leader, though none can be granted a lease.
//! So it counts silence as its followers do: when no majority of its voters was
//! heard for the leader timeout it falls silent, and says so once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::quorum::nth_newest;
use crate::id::RaftId;
use crate::mutate::{Mutant, planted};
use crate::time::Timestamp;

/// When each member answered last.
#[derive(Clone, Debug)]
pub(super) struct QuorumContact {
    heard: BTreeMap<RaftId, Timestamp>,
    /// Silence is counted from here at the earliest.
    since: Timestamp,
    /// The loss of the majority was reported already.
    told: bool,
}

impl QuorumContact {
    pub(super) fn since(first_answer: Timestamp) -> Self {
        Self { heard: BTreeMap::new(), since: first_answer, told: false }
    }

    /// Starts counting again: others can be heard from now on.
    pub(super) fn restart(&mut self, now: Timestamp) {
        self.since = self.since.max(now);
    }

    /// A member answered one of this leader's heartbeats.
    pub(super) fn hear(&mut self, now: Timestamp, from: RaftId) {
        self.heard.insert(from, now);
        self.told = false;
    }

    /// When the leader `me` must fall silent, if nobody answers until then. `voters` are both halves of a joint
    /// configuration.
    pub(super) fn silent_at(
        &self,
        me: RaftId,
        voters: &[BTreeSet<RaftId>; 2],
        patience: Duration,
    ) -> Option<Timestamp> {
        if self.told || planted(Mutant::DeafLeaderBeats) {
            return None;
        }
        let halves = voters.iter().filter(|half| !half.is_empty());
        let heard = halves.filter_map(|half| {
            // It hears itself; as a sole voter it needs nobody else.
            let others_needed = half.len() / 2 + 1 - usize::from(half.contains(&me));
            nth_newest(half, others_needed, |id| (id != me).then(|| self.heard.get(&id).copied().unwrap_or_default()))
        });
        Some(heard.min()?.max(self.since) + patience)
    }

    /// Whether this leader has just heard no majority for too long; true once.
    pub(super) fn falls_silent(
        &mut self,
        now: Timestamp,
        me: RaftId,
        voters: &[BTreeSet<RaftId>; 2],
        patience: Duration,
    ) -> bool {
        let falls = self.silent_at(me, voters, patience).is_some_and(|at| now >= at);
        self.told |= falls;
        falls
    }
}
