//! What this node finds of processes that ended, and whom it tells: see [`crate::evidence`].

use std::collections::BTreeSet;

use super::Node;
use crate::error::Misbehaviour;
use crate::id::{Incarnation, RaftId};
use crate::time::Timestamp;
use crate::wire::cluster::{BootName, FrameBody};

impl Node {
    /// The streams of that boot broke, and where it listened this node is refused.
    pub(super) fn handle_gone(&mut self, now: Timestamp, ended: Incarnation) {
        let Some(state) = &self.state else { return };
        // Those who are known to be dead refuse for that reason.
        let up = state.members.iter().filter(|member| member.boot.is_some() && member.id != self.me.id);
        let up: BTreeSet<RaftId> = up.map(|member| member.id).collect();
        if !state.members.is_up(ended.id, ended.boot) {
            return;
        }
        self.evidence.note_refusal(ended.id);
        if self.evidence.is_cut_off(&up) {
            tracing::warn!("most members refuse this node: it takes itself for cut off");
            return;
        }
        if !self.evidence.find(ended) {
            return;
        }
        tracing::debug!(peer = %ended.id, "a member's streams broke, and it refuses to be dialled");
        if self.consensus.leader() == Some(ended.id) {
            self.liveness.note_given_up(now, ended.id);
            self.give_up_leader(now, ended.id);
        } else {
            self.report(now, ended);
        }
    }

    fn report(&mut self, now: Timestamp, ended: Incarnation) {
        if self.leader.leads() {
            self.take_evidence(now, self.me.id, ended);
        } else if let Some(leader) = self.consensus.leader().filter(|&leader| leader != ended.id) {
            self.peers.send(now, leader, FrameBody::Gone(ended.into()));
        }
    }

    /// There is another leader: it is to know what its predecessor was told, and of its predecessor.
    pub(super) fn report_again(&mut self, now: Timestamp) {
        let Some(state) = &self.state else { return };
        let is_up = |gone: &Incarnation| state.members.is_up(gone.id, gone.boot);
        let found: Vec<Incarnation> = self.evidence.standing().filter(is_up).collect();
        for gone in found {
            self.report(now, gone);
        }
    }

    pub(super) fn handle_witness(&mut self, now: Timestamp, from: RaftId, name: BootName) -> Result<(), Misbehaviour> {
        const WHAT: Misbehaviour = Misbehaviour::Malformed("evidence");
        let ended = Incarnation::named(name).filter(|ended| ended.id != from).ok_or(WHAT)?;
        self.take_evidence(now, from, ended);
        Ok(())
    }

    fn take_evidence(&mut self, now: Timestamp, witness: RaftId, ended: Incarnation) {
        let Some(state) = &self.state else { return };
        if self.leader.leads() && ended.id != self.me.id && state.members.is_up(ended.id, ended.boot) {
            self.evidence.hear(now, witness, ended);
            self.leader.wake();
        }
    }
}
