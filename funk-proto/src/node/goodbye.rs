//! How a process that ends says so, and what its peers make of it.
//!
//! A goodbye names one boot and is final: that process serves nothing any
//! more, whatever it was granted, so its shards go to others without a wait. It
//! is sealed ahead of time for every peer, since who sends it may be a panic
//! hook, or another process that waited for the death of this one.

use std::net::SocketAddr;

use bytes::Bytes;

use super::Node;
use crate::evidence::Proof;
use crate::id::{BootId, Incarnation};
use crate::leader::ANSWERS;
use crate::limits::FORMER_BOOTS_MAX;
use crate::state::Member;
use crate::time::Timestamp;
use crate::wire::cluster::MemberRecord;
use crate::wire::liveness::{self, Body, Header, LAST_COUNTER};

/// What is to be sent to one peer when this process has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastWord {
    /// The peer's liveness socket.
    pub to: SocketAddr,
    /// To be sent by this process, once its gate is closed for good and no guard is left.
    pub goodbye: Bytes,
    /// To be sent by a process that waited for this one's end.
    pub reaped: Bytes,
}

impl Node {
    /// What tells this boot's peers that it has ended. Once sent, this process
    /// must never serve again, and must soon be gone.
    pub fn last_words(&self) -> Vec<LastWord> {
        let Some(cluster) = self.peers.identity.cluster else { return Vec::new() };
        let (from, boot) = (self.me.id, self.me.boot);
        let words = self.peers.datagram_routes().map(|(to, address, key)| {
            let header = Header { cluster, from, boot, to, counter: LAST_COUNTER, at: Timestamp::ZERO };
            let sealed = |reaped| liveness::seal(&key, &header, &Body::Goodbye { reaped });
            LastWord { to: address, goodbye: sealed(false), reaped: sealed(true) }
        });
        words.collect()
    }

    /// This node asks to join, and says which of its former boots have surely ended.
    pub(super) fn join_request(&self) -> MemberRecord {
        let former = self.config.former_boots.iter().map(|boot| boot.get()).collect();
        let (_, answered) = self.liveness.heartbeat_counts();
        MemberRecord { former, answered, ..Member::own(&self.config, self.me).record(Some(self.me.boot)) }
    }

    /// A joiner holds the lock that its former boots held: the one that is listed, or whose shards nobody has yet, has
    /// ended. It counts once the joiner was reached where that node is.
    pub(super) fn handle_former_boots(&mut self, now: Timestamp, joiner: Incarnation, former: &[u64]) {
        let id = joiner.id;
        let Some(state) = &self.state else { return };
        let listed = state.members.get(id).and_then(|member| member.boot);
        let owners = state.map.owners().iter().filter(|owner| owner.id == id && state.map.held_by(**owner) > 0);
        let said = |boot: &BootId| former.iter().take(FORMER_BOOTS_MAX).any(|&former| former == boot.get());
        let ended = listed.into_iter().chain(owners.map(|owner| owner.boot)).find(said);
        let Some(boot) = ended.filter(|_| self.peers.boot(id) == Some(joiner.boot)) else { return };
        // A copy of a data directory has a lock of its own: of one that is up and reached, the leader knows better, as
        // do those who hear the leader. The joiner asks again.
        let ended = Incarnation { id, boot };
        let pause = self.config.timing.liveness_interval * ANSWERS;
        let is_silent = self.liveness.last_heard(id).is_some_and(|heard| now >= heard + pause);
        if self.leader.leads() || is_silent || listed != Some(boot) || !self.peers.is_reached(ended) {
            self.take_ending(now, ended, Proof::Lock);
        }
    }

    /// Grows with every change of [`Node::last_words`].
    pub fn last_words_version(&self) -> u64 {
        self.peers.routes_version()
    }

    /// That boot has ended. Each voter keeps it in mind: the next leader may be this node.
    pub(super) fn handle_goodbye(&mut self, now: Timestamp, ended: Incarnation, reaped: bool) {
        tracing::info!(peer = %ended.id, reaped, "a member's process has ended");
        self.take_ending(now, ended, Proof::Said);
    }

    fn take_ending(&mut self, now: Timestamp, ended: Incarnation, proof: Proof) {
        self.view.counters.goodbyes += 1;
        if !self.evidence.endings.insert(ended, proof) {
            return;
        }
        if self.leader.leads() {
            self.leader.wake();
        } else if self.consensus.leader() == Some(ended.id) && self.liveness.heard_boot(ended.id) == Some(ended.boot) {
            // A later boot of it may lead by now.
            self.liveness.note_given_up(now, ended.id);
            self.give_up_leader(now, ended.id);
        }
    }
}
