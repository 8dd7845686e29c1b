//! The member's side: it answers heartbeats, and counts its lease from its answers.

use std::time::Duration;

use super::followed::Followed;
use super::{Liveness, Word};
use crate::id::{RaftId, Term};
use crate::mutate::{Mutant, planted};
use crate::time::Timestamp;
use crate::wire::liveness::Grant;

impl Liveness {
    /// A heartbeat of the leader that consensus follows, in its newest term:
    /// promise for the lease that it says, and ask for a lease.
    pub fn handle_heartbeat(
        &mut self,
        now: Timestamp,
        from: RaftId,
        counter: u64,
        term: Term,
        (lease, drift_ppm): (Duration, u32),
    ) {
        // A node that has the replicated state knows better than a datagram what holds.
        if !self.timing_is_replicated {
            (self.timing.lease, self.timing.drift_ppm) = (lease, drift_ppm);
        }
        let promised = self.promise(now, lease);
        self.followed = Some(Followed::new(from, now, lease.min(self.lease_max)));
        self.heartbeats_answered += 1;
        self.ack(now, from, term, counter, (promised < lease).then_some(promised));
        self.links.entry(from).or_default().asked.record(self.counter, now, Duration::ZERO);
    }

    /// A heartbeat of a term that is over: tell its sender so.
    pub fn handle_stale_heartbeat(&mut self, now: Timestamp, from: RaftId, our_term: Term) {
        self.ack(now, from, our_term, 0, None);
    }

    fn ack(&mut self, now: Timestamp, to: RaftId, term: Term, echo: u64, promise: Option<Duration>) {
        let (applied, hash) = self.history.last();
        self.send(now, to, Word::Ack { term, echo, applied, hash, promise });
    }

    /// A grant, from a leader of any term: it counts from the sending of the ack that it answers. Who never led this
    /// node has none to answer.
    pub fn handle_grant(&mut self, now: Timestamp, from: RaftId, grant: Grant) {
        let sent = self.links.get(&from).and_then(|link| {
            let asked = if planted(Mutant::GrantOfAnyPeer) { &link.sent } else { &link.asked };
            let answered = asked.get(grant.echo).map(|sent| sent.at);
            if planted(Mutant::LeaseFromNewestAsk) { asked.newest() } else { answered }
        });
        if let Some(sent) = sent {
            // The leader may have waited for its next heartbeat.
            let took = now.since(sent).saturating_sub(self.timing.liveness_interval);
            self.note_round_trip(now, from, took);
            let mut length = grant.length.min(self.timing.lease);
            if planted(Mutant::GrantNotCut) {
                length = grant.length;
            }
            if planted(Mutant::MemberTakesKnownLease) {
                length = self.timing.lease;
            }
            self.lease_until = self.lease_until.max(sent + length);
        }
    }

    /// A frame came on a stream of `from`.
    pub fn handle_frame(&mut self, now: Timestamp, from: RaftId) {
        if let Some(followed) = &mut self.followed {
            followed.handle_frame(now, from);
        }
    }

    /// The leader has ended: it need not be waited for.
    pub fn expire_leader(&mut self, leader: RaftId) {
        if let Some(followed) = self.followed.as_mut().filter(|followed| followed.leader == leader) {
            followed.silent = true;
        }
    }

    /// When this leader was last heard, if this node follows it.
    pub(crate) fn last_heard(&self, leader: RaftId) -> Option<Timestamp> {
        self.followed?.heard(leader)
    }

    /// Whether the followed leader is silent.
    pub fn leader_is_silent(&self) -> bool {
        self.followed.is_some_and(|followed| followed.silent)
    }
}
