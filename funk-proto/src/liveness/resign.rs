//! A leader that hears no majority gives up, and tells its voters.

use super::{Liveness, LivenessOutput, Word};
use crate::id::{RaftId, Term};
use crate::time::Timestamp;

impl Liveness {
    /// Whether this leader has heard no majority for too long. It beats no more then.
    pub(super) fn falls_silent(&mut self, now: Timestamp) -> bool {
        let patience = self.quorum_patience();
        let Some(authority) = &mut self.authority else { return false };
        let falls = authority.contact.falls_silent(now, self.me, &authority.voters, patience);
        if falls {
            self.outputs.push_back(LivenessOutput::QuorumLost);
        }
        falls
    }

    /// When the datagram of this counter went to that peer, if that is remembered.
    pub fn sent_at(&self, to: RaftId, counter: u64) -> Option<Timestamp> {
        Some(self.links.get(&to)?.sent.get(counter)?.at)
    }

    /// When this leader heard the member last.
    pub fn last_seen(&self, id: RaftId) -> Option<Timestamp> {
        Some(self.authority.as_ref()?.members.get(&id)?.last_seen)
    }

    /// Tells these voters that this node leads no more.
    pub fn resign(&mut self, now: Timestamp, term: Term, voters: impl IntoIterator<Item = RaftId>) {
        for voter in voters.into_iter().filter(|&id| id != self.me).collect::<Vec<_>>() {
            self.send(now, voter, Word::Resign { term });
        }
    }
}
