//! A leader that hears nobody. Its heartbeats may still arrive, and while they
//! do no follower looks for another leader, though none can be granted a lease.
//! So it counts silence as its followers do: when no majority of its voters was
//! heard for the leader timeout it falls silent, and says so once.

use std::collections::BTreeMap;

use super::authority::{Authority, nth_newest};
use super::{Liveness, LivenessOutput};
use crate::config::Timing;
use crate::id::RaftId;
use crate::mutate::{Mutant, planted};
use crate::time::Timestamp;

/// When each member answered last.
#[derive(Clone, Debug)]
pub(super) struct QuorumContact {
    heard: BTreeMap<RaftId, Timestamp>,
    /// Nobody can be missed for longer than since then.
    since: Timestamp,
    /// It is known that nobody hears: told once.
    told: bool,
}

impl QuorumContact {
    pub(super) fn since(now: Timestamp) -> Self {
        Self { heard: BTreeMap::new(), since: now, told: false }
    }

    /// Others are to be heard now, or time has passed in which nobody could be.
    pub(super) fn restart(&mut self, now: Timestamp) {
        self.since = now;
    }
}

impl Authority {
    /// A member answered one of this leader's heartbeats.
    pub(super) fn hear(&mut self, now: Timestamp, from: RaftId) {
        self.contact.heard.insert(from, now);
        self.contact.told = false;
    }

    /// When this leader is to fall silent, if nobody answers until then.
    pub(super) fn silent_at(&self, me: RaftId, timing: &Timing) -> Option<Timestamp> {
        if self.contact.told || planted(Mutant::DeafLeaderBeats) {
            return None;
        }
        let halves = self.voters.iter().filter(|half| !half.is_empty());
        let heard = halves.filter_map(|half| {
            // It hears itself; as a sole voter it needs nobody else.
            let others_needed = half.len() / 2 + 1 - usize::from(half.contains(&me));
            nth_newest(half, others_needed, |id| {
                (id != me).then(|| self.contact.heard.get(&id).copied().unwrap_or_default())
            })
        });
        Some(heard.min()?.max(self.contact.since) + timing.leader_timeout)
    }
}

impl Liveness {
    /// Whether this leader has heard no majority for too long. It beats no more then.
    pub(super) fn falls_silent(&mut self, now: Timestamp) -> bool {
        let Some(authority) = &mut self.authority else { return false };
        if authority.silent_at(self.me, &self.timing).is_none_or(|at| now < at) {
            return false;
        }
        authority.contact.told = true;
        self.outputs.push_back(LivenessOutput::QuorumLost);
        true
    }

    /// When the datagram of this counter went to that peer, if that is remembered.
    pub fn sent_at(&self, to: RaftId, counter: u64) -> Option<Timestamp> {
        self.links.get(&to)?.sent.get(counter)
    }

    /// When this leader heard the member last.
    pub fn last_seen(&self, id: RaftId) -> Option<Timestamp> {
        Some(self.authority.as_ref()?.members.get(&id)?.last_seen)
    }

    /// Tells these voters that this node leads no more.
    pub fn resign(&mut self, now: Timestamp, term: crate::id::Term, voters: impl IntoIterator<Item = RaftId>) {
        for voter in voters.into_iter().filter(|&id| id != self.me).collect::<Vec<_>>() {
            self.send(now, voter, super::Body::Resign { term });
        }
    }
}
