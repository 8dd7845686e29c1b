//! This node's own leave: first that it is about to, then that it is gone.

use super::{Gossip, Purpose};
use crate::time::Timestamp;
use crate::wire::gossip::Packet;

/// Members that are told of a leave by a push/pull; they pass it on.
const LEAVE_TOLD: usize = 3;
/// Members that are told of a leave by a datagram at once.
const LEAVE_TOLD_AT_ONCE: usize = 16;

impl Gossip {
    /// Tells the others that this node is about to leave: what it says of
    /// itself later, that it is gone, they then take for a leave and no failure.
    pub fn announce_leave(&mut self, now: Timestamp) {
        self.now = now;
        if !self.table.leaving {
            self.with_news(|table, news| table.announce_leave(now, news));
            let intent = Packet::User(self.table.own_leave().encode());
            self.tell_at_once(LEAVE_TOLD_AT_ONCE, &[intent]);
        }
    }

    /// Tells the others at once that this node leaves, so that nobody needs to
    /// wait for it. It goes on answering, as one that left.
    pub fn leave(&mut self, now: Timestamp) {
        self.announce_leave(now);
        if self.table.myself().gone() {
            return;
        }
        self.with_news(|table, news| table.leave(now, news));
        // The intent again: it matters more than any other message of this node.
        let packets = [Packet::User(self.table.own_leave().encode()), self.table.own_death()];
        self.tell_at_once(LEAVE_TOLD_AT_ONCE, &packets);
        let told = self.table.draw(&mut self.rng, LEAVE_TOLD, |_, member| member.present());
        let told: Vec<_> = told.iter().map(|(_, member)| member.addr).collect();
        for to in told {
            self.dial(now, to, Purpose::Leave);
        }
    }
}
