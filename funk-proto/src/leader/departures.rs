//! Members that leave.

use std::collections::BTreeSet;

use super::goals::Operations;
use super::{Facts, Leader, LeaderOutput, joins};
use crate::id::{Incarnation, LogIndex, RaftId};
use crate::limits::RAFT_MEMBERS_MAX;
use crate::state::Member;
use crate::wire::cluster::{BootName, DownRecord, FrameBody, Op};

impl Leader {
    /// A process asks to be let go.
    pub(crate) fn handle_leave(&mut self, facts: &Facts<'_>, leaver: Incarnation) {
        let Some(leading) = self.leading.as_mut().filter(|leading| leading.is_ready) else { return };
        if facts.is_up(leaver) {
            leading.leaves.insert(leaver);
            leading.dirty = true;
        } else {
            self.outputs.push_back(LeaderOutput::Tell(leaver, Box::new(FrameBody::Farewell(leaver.into()))));
        }
    }

    /// Whether this process asked to be let go.
    pub(crate) fn has_asked_to_leave(&self, who: Incarnation) -> bool {
        self.leading.as_ref().is_some_and(|leading| leading.leaves.contains(&who))
    }

    /// This leader leaves, and there is nobody that could lead or own after it. If it keeps nothing on disk, it
    /// waits for pending joiners that could take over: otherwise they would find no cluster.
    pub(super) fn leave_last(&mut self, facts: &Facts<'_>) {
        let Some(leading) = &mut self.leading else { return };
        let has_others = facts.up().any(|other| other.id != facts.me.id);
        if !facts.own().is_some_and(|own| own.leaving) || has_others {
            return;
        }
        match joins::heir_expires(facts, &leading.joins) {
            Some(expires) => leading.look_again(expires),
            None => self.outputs.push_back(LeaderOutput::LastOut),
        }
    }
}

/// Leavers start to drain; those that are drained and do not vote are out. Those with a data directory only stop:
/// they keep their place, and their vote. If everybody leaves there is nobody to drain to, and all are out at once.
pub(super) fn departures(facts: &Facts<'_>, leaves: &BTreeSet<Incarnation>, operations: &Operations) -> Vec<Op> {
    let has_heirs = facts.state.members.iter().any(Member::may_own);
    let makes_way = makes_way(facts);
    // A removal by an operator takes its member out itself.
    let members = facts.state.members.iter().filter(|member| !operations.removes(member.id));
    members.filter_map(|member| departure(facts, leaves, (has_heirs, makes_way), member)).collect()
}

/// The member that must make way for others in a full table: of those that are down, hold nothing and are not
/// replicated to, the one that came up longest ago.
fn makes_way(facts: &Facts<'_>) -> Option<RaftId> {
    if facts.state.members.len() < RAFT_MEMBERS_MAX {
        return None;
    }
    let members = facts.state.members.iter();
    let idle = members.filter(|member| {
        member.boot.is_none() && !facts.quorum.tracks(member.id) && facts.state.map.held_by_node(member.id) == 0
    });
    idle.min_by_key(|member| (member.up_index, member.id)).map(|member| member.id)
}

fn departure(
    facts: &Facts<'_>,
    leaves: &BTreeSet<Incarnation>,
    (has_heirs, makes_way): (bool, Option<RaftId>),
    member: &Member,
) -> Option<Op> {
    let name = |boot: u64| BootName { id: member.id.get(), boot };
    let Some(boot) = member.boot else {
        // A data directory that was lost comes back as another member of that name. One that never took part, no
        // shard was ever taken from it, need not be waited for.
        let took_part = member.taken_index > LogIndex(0) || facts.state.map.held_by_node(member.id) > 0;
        let is_replaced = facts.state.members.up_by_name(&member.name).is_some();
        let stays = member.durable && took_part && !is_replaced && makes_way != Some(member.id);
        return (!stays && !facts.quorum.tracks(member.id)).then(|| Op::Left(name(0)));
    };
    let who = Incarnation { id: member.id, boot };
    let has_asked = leaves.contains(&who);
    if !member.leaving {
        return has_asked.then(|| Op::Leave(name(boot.get())));
    }
    if member.id == facts.me.id {
        return None;
    }
    let holds_none = facts.state.map.held_by(who) == 0;
    if member.durable {
        // It goes without its place: the data directory brings it back.
        return (has_asked && (holds_none || !has_heirs)).then(|| Op::Down(DownRecord::stopped(who)));
    }
    let is_drained = holds_none && !facts.quorum.has_vote(member.id);
    (is_drained || !has_heirs).then(|| Op::Left(name(boot.get())))
}
