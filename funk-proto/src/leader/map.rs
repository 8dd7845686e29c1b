//! The leader's part in the shard map: it plans what moves, and waits for whom it takes from.

use std::time::Duration;

use super::pending::Proposing;
use super::{Facts, Leader, LeaderOutput};
use crate::id::Incarnation;
use crate::shards::plan::{Plan, Releases, Waits, plan};

impl Leader {
    pub(super) fn write_map(&mut self, facts: &Facts<'_>) {
        let Some(leading) = &mut self.leading else { return };
        leading.releases.prune(facts.state);
        let next = plan_map(facts, &leading.releases);
        if let Some(at) = next.again_at {
            leading.look_again(at);
        }
        if next.operations.is_empty() {
            return;
        }
        leading.proposing = Some(Proposing {
            losers: next.losers,
            movers: next.movers,
            grace_ends: facts.now + move_grace(facts),
            is_incomplete: next.incomplete,
        });
        self.outputs.push_back(LeaderOutput::Propose(next.operations));
    }

    /// Moves that an earlier leader began are waited for like one's own.
    pub(crate) fn take_up_moves(&mut self, facts: &Facts<'_>) {
        let Some(leading) = &mut self.leading else { return };
        let grace_ends = facts.now + move_grace(facts);
        let movers = facts.state.map.movers().into_iter();
        leading.moves.extend(movers.map(|(owner, index)| (owner.id, index, grace_ends)));
    }

    /// Owners that had their grace get no lease any more before they have applied the move.
    pub(super) fn enforce_moves(&mut self, facts: &Facts<'_>) {
        let Some(leading) = &mut self.leading else { return };
        let due = leading.moves.extract_if(.., |&mut (_, _, at)| facts.now >= at);
        self.outputs.extend(due.map(|(id, index, _)| LeaderOutput::RaiseFloor(id, index)));
    }
}

/// A move gets a grace to be applied, or an owner that gives up shards one after another would never be up to date.
fn move_grace(facts: &Facts<'_>) -> Duration {
    facts.timing().liveness_interval * 3
}

fn plan_map(facts: &Facts<'_>, releases: &Releases) -> Plan {
    let ended = |owner: Incarnation| facts.is_to_be_replaced(owner);
    let grant_end = |owner: Incarnation| facts.leases.grant_end(owner.id, owner.boot);
    let answers = |owner: Incarnation| facts.leases.is_current(owner.id);
    let waits = Waits {
        now: facts.now,
        me: facts.me,
        inherited_until: facts.leases.inherited_until(),
        ended: &ended,
        grant_end: &grant_end,
        answers: &answers,
    };
    plan(facts.state, releases, &waits)
}
