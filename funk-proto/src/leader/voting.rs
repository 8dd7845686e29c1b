//! The leader's choice of voters, and of who leads after it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::conduct::Conduct;
use super::goals::Operations;
use super::voters::{self, Candidate};
use super::{Facts, Leader, LeaderOutput};
use crate::id::RaftId;
use crate::mutate::{Mutant, planted};
use crate::state::Member;
use crate::time::{Timestamp, earliest};

/// A learner this close to the end of the log, in entries, may be made a voter.
const CAUGHT_UP: u64 = 256;
/// Pause between two attempts to hand leadership over.
const TRANSFER_RETRY: Duration = Duration::from_millis(50);

impl Leader {
    /// Brings voters and learners in line with the member table, one change at a time.
    pub(super) fn change_voters(&mut self, facts: &Facts<'_>) {
        if facts.quorum.is_joint {
            self.leave_joint(facts);
            return;
        }
        let Some(leading) = self.leading.as_mut().filter(|_| !facts.quorum.change_pending) else { return };
        let present = &facts.quorum.voters;
        let (candidates, settled_at) = candidates(facts, &self.operations, &self.conduct);
        if let Some(at) = settled_at {
            leading.look_again(at);
        }
        let mut voters = voters::choose(&candidates, present, facts.me.id);
        // This leader goes only after another leads.
        if !planted(Mutant::RemovedLeaderLeads) {
            voters.insert(facts.me.id);
        }
        let members = facts.state.members.iter().filter(|member| member.boot.is_some() && !member.non_member);
        let mut learners: BTreeSet<RaftId> = members.map(|member| member.id).collect();
        learners = &learners - &voters;
        if voters != *present && facts.now < leading.voters_not_before {
            leading.look_again(leading.voters_not_before);
            learners = &(&learners | &voters) - present;
            voters.clone_from(present);
        }
        if voters != *present || learners != facts.quorum.learners {
            self.outputs.push_back(LeaderOutput::ChangeVoters { voters, learners });
        } else if facts.quorum.learners.iter().any(|&id| !has_caught_up(facts, id)) {
            // Learners that still catch up may become voters when they have.
            leading.look_again(facts.now + facts.timing().liveness_interval);
        }
    }

    /// A joint configuration of voters lasts until every promise made before it has run out: the new voters alone
    /// may not have heard of them.
    fn leave_joint(&mut self, facts: &Facts<'_>) {
        let Some(leading) = &mut self.leading else { return };
        if facts.now < leading.voters_not_before && !planted(Mutant::JointLeftAtOnce) {
            leading.look_again(leading.voters_not_before);
        } else {
            self.outputs.push_back(LeaderOutput::LeaveJoint);
        }
    }

    /// A leader that leaves, that is asked to, or whose disk hangs hands leadership to a voter that stays.
    pub(super) fn transfer_leadership(&mut self, facts: &Facts<'_>) {
        let is_stalled = self.stalls_at(facts.oldest_write).is_some_and(|at| facts.now >= at);
        let Some(leading) = &mut self.leading else { return };
        let leaves = facts.own().is_some_and(|own| own.leaving);
        // Declared dead, then elected, its name another's by now: it serves no shard, takes none from itself,
        // and whoever leads next refuses it.
        let holder = facts.state.members.up_by_name(&facts.config.name);
        let is_replaced = holder.is_some_and(|holder| holder.id != facts.me.id);
        let goes = leaves || is_replaced || self.operations.yield_leadership();
        let goes = goes && !planted(Mutant::RemovedLeaderLeads);
        if !goes && !is_stalled {
            return;
        }
        if goes {
            leading.look_again(facts.now + TRANSFER_RETRY);
        }
        // A change of voters on its way may take the heir's vote, and the transfer with it.
        let voters_change = facts.quorum.change_pending && !facts.quorum.is_joint;
        if facts.now < leading.transfer_at || voters_change && !is_stalled {
            return;
        }
        leading.transfer_at = facts.now + TRANSFER_RETRY;
        self.outputs.extend(heir(facts).map(LeaderOutput::Transfer));
    }
}

/// Who may vote; and when another one will have stayed for long enough.
fn candidates(facts: &Facts<'_>, operations: &Operations, conduct: &Conduct) -> (Vec<Candidate>, Option<Timestamp>) {
    let mut settled_at = None;
    let mut is_settled = |member: &&Member| {
        let waits = member.boot.and_then(|boot| conduct.may_vote_at(facts.now, &member.name, boot));
        let waits = waits.filter(|_| !facts.quorum.has_vote(member.id));
        settled_at = earliest(settled_at, waits);
        waits.is_none()
    };
    let members: Vec<&Member> = facts.state.members.iter().filter(&mut is_settled).collect();
    let candidate = |member: &Member| {
        let alive = member.boot.is_some() && !facts.leases.is_silent(member.id);
        let removed = operations.removes(member.id);
        let willing = !member.leaving && !removed && !member.never_votes && !member.non_member;
        let caught_up = member.id == facts.me.id || has_caught_up(facts, member.id);
        Candidate {
            id: member.id,
            zone: member.zone.clone(),
            fit: alive && willing && caught_up,
            // One that only stops for a while is replaced like a dead one, if at all.
            dead: !removed && (!alive || willing && !caught_up || member.leaving && member.durable),
        }
    };
    (members.into_iter().map(candidate).collect(), settled_at)
}

fn has_caught_up(facts: &Facts<'_>, id: RaftId) -> bool {
    let matched = facts.quorum.matched.get(&id).map_or(0, |index| index.0);
    matched > 0 && matched + CAUGHT_UP >= facts.quorum.last_index.0
}

/// The voter best fit to lead next: heard, and furthest in the log.
pub(super) fn heir(facts: &Facts<'_>) -> Option<RaftId> {
    let is_fit = |id: &RaftId| {
        let member = facts.state.members.get(*id);
        *id != facts.me.id
            && member.is_some_and(|member| member.boot.is_some() && !member.leaving)
            && !facts.leases.is_silent(*id)
    };
    let voters = facts.quorum.voters.iter().copied().filter(is_fit);
    voters.max_by_key(|&id| (facts.quorum.matched.get(&id).copied().unwrap_or_default(), id))
}
