//! How a leader is given up: by its voters when it is silent, and by itself when
//! it hears no majority of them.

use super::Node;
use crate::id::{RaftId, Term};
use crate::time::Timestamp;

impl Node {
    /// The leader is silent, has ended or leads no more: forget it, and campaign
    /// in the order of the voters that still have a stream to here.
    pub(super) fn give_up_leader(&mut self, now: Timestamp, leader: RaftId) {
        self.liveness.expire_leader(leader);
        let voters = self.consensus.voters();
        let me = self.me.id;
        let unsuspected =
            voters.into_iter().filter(|&id| id == me || id != leader && self.peers.is_connected(id)).collect();
        self.consensus.set_round_trip(self.liveness.round_trip());
        self.consensus.forget_leader(now, &unsuspected);
    }

    /// This leader hears no majority of its voters. They may hear it, so it tells them: they need not
    /// miss it first. What it granted, and its own lease, run out as they would have.
    pub(super) fn resign(&mut self, now: Timestamp) {
        let term = self.consensus.term();
        tracing::warn!(term = term.0, "no majority is heard: this node leads no more");
        let voters = &self.consensus.voters() | &self.consensus.outgoing_voters();
        self.liveness.resign(now, term, voters);
        self.consensus.set_round_trip(self.liveness.round_trip());
        self.consensus.resign(now);
    }

    /// The leader says that it leads no more.
    pub(super) fn handle_resign(&mut self, now: Timestamp, from: RaftId, term: Term) {
        if self.consensus.leader() == Some(from) && self.consensus.term() == term {
            self.give_up_leader(now, from);
        }
    }
}
