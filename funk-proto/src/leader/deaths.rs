//! Members that have ended, and what they leave behind.

use super::{Facts, Leader, LeaderOutput, Leading};
use crate::id::Incarnation;
use crate::limits::WORKER_ID_GUARD;
use crate::mutate::{Mutant, planted};
use crate::state::worker_record;
use crate::time::{Timestamp, earliest};
use crate::wire::cluster::{DownRecord, Op};

/// What is due now, and when to ask again.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Due {
    pub(super) ops: Vec<Op>,
    pub(super) again_at: Option<Timestamp>,
}

impl Leader {
    /// Declares members dead that have ended, while a quorum still backs this leader: one that is cut off itself
    /// must not call the others dead.
    pub(super) fn deaths(&mut self, facts: &Facts<'_>) -> Vec<Op> {
        let Some(leading) = &mut self.leading else { return Vec::new() };
        let gone = gone(facts, leading);
        if let Some(due) = facts.evidence_due() {
            leading.look_again(due);
        }
        if gone.is_empty() {
            return Vec::new();
        }
        if facts.now >= facts.leases.authority_until() {
            leading.look_again(facts.now + facts.timing().liveness_interval);
            return Vec::new();
        }
        for dead in &gone {
            if let Some(member) = facts.state.members.get(dead.id) {
                self.conduct.handle_death(facts.now, &member.name, dead.boot);
            }
        }
        let told = |dead: Incarnation| facts.has_ended(dead) || facts.is_dead_by_evidence(dead);
        let early = gone.iter().filter(|dead| told(**dead) && !facts.leases.is_silent(dead.id));
        self.outputs.extend(early.map(|dead| LeaderOutput::GivenUp(dead.id)));
        self.outputs.push_back(LeaderOutput::DeclaredDead(gone.len()));
        gone.into_iter().map(|dead| Op::Down(DownRecord::failed(dead))).collect()
    }
}

/// Listed processes that have ended, by their own word, by evidence, by silence, or because the node has restarted; and those that have
/// applied other entries, which serve nothing any more.
fn gone(facts: &Facts<'_>, leading: &Leading) -> Vec<Incarnation> {
    let has_ended = |who: &Incarnation| {
        facts.has_ended(*who)
            || facts.is_dead_by_evidence(*who)
            || facts.leases.is_silent(who.id)
            || facts.leases.differs(who.id)
            || has_restarted(facts, leading, *who)
    };
    facts.up().filter(has_ended).collect()
}

/// A node keeps its id in its data directory, which one process holds: that another boot of it asks to join, and this
/// one does not answer, proves that this one has ended. How long its lease may still run is another matter, and waited
/// for as always.
fn has_restarted(facts: &Facts<'_>, leading: &Leading, listed: Incarnation) -> bool {
    if listed.id == facts.me.id {
        return listed.boot != facts.me.boot;
    }
    let joiner = leading.joins.get(&listed.id).and_then(|join| join.member.boot);
    let is_next = joiner.is_some_and(|boot| boot != listed.boot && facts.peers.boot(listed.id) == Some(boot));
    is_next && !facts.answers(listed)
}

/// Worker ids of processes that have ended, once their last lease has been over for the guard time: other processes
/// may have them.
pub(super) fn free_workers(facts: &Facts<'_>) -> Due {
    let guard = facts.timing().waiter(WORKER_ID_GUARD);
    let mut due = Due::default();
    for (worker, owner) in facts.state.workers.iter() {
        if owner == facts.me || facts.is_up(owner) {
            continue;
        }
        let free_at = facts.lease_end(owner) + guard;
        if facts.now >= free_at || planted(Mutant::WorkerIdNotGuarded) {
            due.ops.push(Op::FreeWorker(worker_record(worker, owner)));
        } else {
            due.again_at = earliest(due.again_at, Some(free_at));
        }
    }
    due
}
