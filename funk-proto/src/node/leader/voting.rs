//! The leader's choice of voters, and of who leads after it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::Node;
use super::super::voters::{self, Candidate};
use super::RETRY;
use crate::id::RaftId;
use crate::limits::LEADER_STALL_MAX;
use crate::mutate::{Mutant, planted};
use crate::state::{Member, State};
use crate::time::Timestamp;

/// A learner this close to the end of the log may be made a voter.
const CAUGHT_UP: u64 = 256;
/// Pause between two attempts to hand leadership over.
const TRANSFER_RETRY: Duration = Duration::from_millis(50);

impl Node {
    fn candidates(&self, state: &State) -> Vec<Candidate> {
        let candidate = |member: &Member| {
            let alive = member.boot.is_some() && !self.liveness.is_silent(member.id);
            let removed = self.operations.removes(member.id);
            let willing = !member.draining && !removed && !member.non_voting && !member.non_member;
            let caught_up = member.id == self.me.id || self.has_caught_up(member.id);
            Candidate {
                id: member.id,
                zone: member.zone.clone(),
                fit: alive && willing && caught_up,
                // One that only stops for a while is replaced like a dead one, if at all.
                dead: !removed && (!alive || willing && !caught_up || member.draining && member.durable),
            }
        };
        state.members.iter().map(candidate).collect()
    }

    /// Brings voters and learners in line with the member table, one change at a time.
    pub(super) fn change_voters(&mut self, now: Timestamp) {
        let Some(state) = &self.state else { return };
        if self.consensus.is_joint() {
            self.leave_joint(now);
            return;
        }
        if self.consensus.conf_change_pending() {
            return;
        }
        let present = self.consensus.voters();
        let mut voters = voters::choose(&self.candidates(state), &present, self.me.id);
        // This leader goes only after another leads.
        if !planted(Mutant::RemovedLeaderLeads) {
            voters.insert(self.me.id);
        }
        let members = state.members.iter().filter(|member| member.boot.is_some() && !member.non_member);
        let mut learners: BTreeSet<RaftId> = members.map(|member| member.id).collect();
        learners = &learners - &voters;
        let Some(leading) = &mut self.leading else { return };
        if voters != present && now < leading.voters_not_before {
            leading.look_again(leading.voters_not_before);
            learners = &(&learners | &voters) - &present;
            voters = present.clone();
        }
        if voters == present && learners == self.consensus.learners() {
            if self.waits_for_learners() {
                let pause = now + self.config.timing.liveness_interval;
                self.leading.as_mut().expect("it leads").look_again(pause);
            }
            return;
        }
        if let Err(why) = self.consensus.change_members(now, &voters, &learners) {
            tracing::debug!(?why, "change of voters refused");
            self.leading.as_mut().expect("it leads").look_again(now + RETRY);
        }
    }

    /// A joint configuration of voters lasts until every promise made before
    /// it has run out: the new voters alone may not have heard of them.
    fn leave_joint(&mut self, now: Timestamp) {
        let Some(leading) = &mut self.leading else { return };
        if now < leading.voters_not_before && !planted(Mutant::JointLeftAtOnce) {
            leading.look_again(leading.voters_not_before);
        } else if let Err(why) = self.consensus.leave_joint(now) {
            tracing::debug!(?why, "leaving the joint configuration refused");
            leading.look_again(now + RETRY);
        }
    }

    fn has_caught_up(&self, id: RaftId) -> bool {
        let matched = self.consensus.matched(id).0;
        matched > 0 && matched + CAUGHT_UP >= self.consensus.last_index().0
    }

    /// Learners that still catch up may become voters when they have.
    fn waits_for_learners(&self) -> bool {
        self.consensus.learners().into_iter().any(|id| !self.has_caught_up(id))
    }

    /// When this leader's disk will have kept a write waiting for too long, and
    /// another is to be asked to lead.
    pub(in crate::node) fn stalls_at(&self) -> Option<Timestamp> {
        let leading = self.leading.as_ref()?;
        Some((self.consensus.oldest_write()? + LEADER_STALL_MAX).max(leading.transfer_at))
    }

    /// A leader that leaves, that is asked to, or whose disk hangs hands leadership to a voter that stays.
    pub(super) fn hand_over_leadership(&mut self, now: Timestamp) {
        let stalled = self.stalls_at().is_some_and(|at| now >= at);
        let Some(state) = &self.state else { return };
        let Some(leading) = &mut self.leading else { return };
        let leaves = state.members.get(self.me.id).is_some_and(|own| own.draining && own.boot == Some(self.me.boot));
        // Declared dead, then elected, its name another's by now: it serves no shard, takes none from itself,
        // and whoever leads next refuses it.
        let holder = state.members.up_by_name(&self.config.name);
        let replaced = holder.is_some_and(|holder| holder.id != self.me.id);
        let goes = (leaves || replaced || self.operations.yield_leadership()) && !planted(Mutant::RemovedLeaderLeads);
        if !goes && !stalled {
            return;
        }
        if goes {
            leading.look_again(now + TRANSFER_RETRY);
        }
        // A change of voters on its way may take the heir's vote, and the transfer with it.
        let voters_change = self.consensus.conf_change_pending() && !self.consensus.is_joint();
        if now < leading.transfer_at || voters_change && !stalled {
            return;
        }
        leading.transfer_at = now + TRANSFER_RETRY;
        if let Some(heir) = self.heir() {
            let result = self.consensus.transfer_leader(now, heir);
            tracing::debug!(%heir, ?result, "hand leadership over");
        }
    }

    /// The voter best fit to lead next: heard, and furthest in the log.
    pub(in crate::node) fn heir(&self) -> Option<RaftId> {
        let state = self.state.as_ref()?;
        let fit = |id: &RaftId| {
            let member = state.members.get(*id);
            *id != self.me.id
                && member.is_some_and(|member| member.boot.is_some() && !member.draining)
                && !self.liveness.is_silent(*id)
        };
        self.consensus.voters().into_iter().filter(fit).max_by_key(|&id| (self.consensus.matched(id), id))
    }
}
