//! The leader's part in the shard map: it plans what moves, and waits for whom it takes from.

use std::time::Duration;

use super::super::Node;
use crate::id::{Incarnation, LogIndex, RaftId};
use crate::shards::plan::{Plan, Waits, plan};
use crate::time::Timestamp;

impl Node {
    pub(super) fn write_map(&mut self, now: Timestamp) {
        let Some(next) = self.plan_map(now) else { return };
        if let (Some(leading), Some(at)) = (&mut self.leading, next.again_at) {
            leading.look_again(at);
        }
        if next.operations.is_empty() {
            return;
        }
        let Some(index) = self.propose_operations(now, next.operations) else { return };
        for loser in next.losers {
            self.liveness.raise_floor(loser, index);
        }
        let grace_ends = now + self.move_grace();
        if let Some(leading) = &mut self.leading {
            leading.moves.extend(next.movers.into_iter().map(|id| (id, index, grace_ends)));
            if next.incomplete {
                leading.wake();
            }
        }
    }

    fn plan_map(&mut self, now: Timestamp) -> Option<Plan> {
        let state = self.state.as_ref()?;
        self.leading.as_mut()?.releases.prune(state);
        let leading = self.leading.as_ref()?;
        let liveness = &self.liveness;
        let grant_end = |owner: Incarnation| liveness.grant_end(owner.id, owner.boot);
        let inherited_until = liveness.inherited_until();
        let ended = |owner: Incarnation| self.is_to_be_replaced(state, owner);
        let answers = |owner: Incarnation| liveness.is_current(owner.id);
        let waits =
            Waits { now, me: self.me, inherited_until, ended: &ended, grant_end: &grant_end, answers: &answers };
        Some(plan(state, &leading.releases, &waits))
    }

    /// A move gets a grace to be applied, or an owner that gives up shards one
    /// after another would never be up to date.
    fn move_grace(&self) -> Duration {
        self.config.timing.liveness_interval * 3
    }

    /// Moves that a former leader began are waited for like one's own.
    pub(in crate::node) fn take_up_moves(&mut self, now: Timestamp) {
        let grace_ends = now + self.move_grace();
        let (Some(state), Some(leading)) = (&self.state, &mut self.leading) else { return };
        leading.moves.extend(state.map.movers().into_iter().map(|(owner, index)| (owner.id, index, grace_ends)));
    }

    pub(super) fn enforce_moves(&mut self, now: Timestamp) {
        let Some(leading) = &mut self.leading else { return };
        let (due, later) = std::mem::take(&mut leading.moves).into_iter().partition(|&(_, _, at)| now >= at);
        leading.moves = later;
        let due: Vec<(RaftId, LogIndex, Timestamp)> = due;
        for (id, index, _) in due {
            self.liveness.raise_floor(id, index);
        }
    }
}
