//! A round of the leader's duties.

use prost::Message;

use super::{Facts, Leader, LeaderOutput, deaths, departures, operations};
use crate::limits::PROPOSAL_BYTES_MAX;
use crate::mutate::{Mutant, planted};
use crate::time::Timestamp;
use crate::wire::cluster::{Command, Op, Operation};

/// A part of a round. Each sees the effects of the one before it.
type Duty = fn(&mut Leader, &Facts<'_>);

const DUTIES: [Duty; 6] = [
    Leader::enforce_moves,
    Leader::end_reached_operations,
    Leader::change_voters,
    Leader::transfer_leadership,
    Leader::leave_last,
    Leader::write,
];

impl Leader {
    /// Begins a round of duties, if one is due. `oldest_write` is when the write began that waits longest for the disk.
    pub(crate) fn begin_round(&mut self, now: Timestamp, oldest_write: Option<Timestamp>) -> bool {
        let due = self.poll_round(oldest_write).is_some_and(|at| now >= at);
        let Some(leading) = &mut self.leading else { return false };
        if !leading.is_ready && !planted(Mutant::ReadyBeforeOwnTerm) || !(leading.dirty || due) {
            return false;
        }
        leading.dirty = false;
        leading.look_at = None;
        true
    }

    /// How many duties a round has. Outputs must be carried out after each.
    pub(crate) const DUTIES: usize = DUTIES.len();

    /// Does the `n`th duty of a round.
    pub(crate) fn do_duty(&mut self, n: usize, facts: &Facts<'_>) {
        DUTIES[n](self, facts);
    }

    /// Proposes what is due in the member table, else in the map, one entry at a time.
    fn write(&mut self, facts: &Facts<'_>) {
        if self.leading.as_ref().is_some_and(|leading| leading.outstanding.is_none()) && !self.write_members(facts) {
            self.write_map(facts);
        }
    }

    /// Proposes what is due in the member table. False if nothing is.
    fn write_members(&mut self, facts: &Facts<'_>) -> bool {
        let mut ops = self.deaths(facts);
        ops.extend(self.lease(facts));
        ops.extend(self.ring(facts));
        let joins = self.joins(facts);
        let Some(leading) = &mut self.leading else { return false };
        leading.leaves.retain(|leaver| facts.is_up(*leaver));
        ops.extend(departures::departures(facts, &leading.leaves, &self.operations));
        ops.extend(operations::steps(facts, &self.operations));
        let free = deaths::free_workers(facts);
        ops.extend(free.ops);
        if let Some(at) = free.again_at {
            leading.look_again(at);
        }
        ops.extend(joins);
        ops.extend(leading.updates.values().cloned().map(Op::Update));
        if ops.is_empty() {
            return false;
        }
        // What does not fit is found due again when this entry is applied; an update that is left out stays noted.
        let whole = ops.len();
        ops.truncate(fitting(&ops));
        leading.dirty |= ops.len() < whole;
        for op in &ops {
            if let Op::Update(record) = op {
                leading.updates.retain(|id, _| id.get() != record.id);
            }
        }
        self.outputs.push_back(LeaderOutput::Propose(ops));
        true
    }
}

/// How many of these operations fit into one entry, at least one.
fn fitting(ops: &[Op]) -> usize {
    let mut room = PROPOSAL_BYTES_MAX;
    let fits = |op: &&Op| {
        let bytes = Command { operations: vec![Operation { op: Some((*op).clone()) }] }.encoded_len();
        room = room.saturating_sub(bytes);
        room > 0
    };
    ops.iter().take_while(fits).count().max(1)
}
