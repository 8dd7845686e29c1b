//! Nodes that ask to be made members.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::pending::PendingJoin;
use super::{Facts, Leader, LeaderOutput};
use crate::id::{BootId, ClusterId, Incarnation, NodeName, RaftId};
use crate::limits::RAFT_MEMBERS_MAX;
use crate::state::Member;
use crate::time::{Timestamp, earliest};
use crate::wire::cluster::{
    FrameBody, Op, REASON_IDENTITY, REASON_NAME_TAKEN, REASON_REMOVED, REASON_TABLE_FULL, Refused,
};

/// A request is forgotten after this time: the joiner asks again while it wants in.
const EXPIRES: Duration = Duration::from_secs(2);

/// What becomes of a request in this round.
enum Verdict {
    /// It is answered, or void.
    Forget,
    /// Something must happen first.
    Wait,
    /// It is let in.
    Admit,
    /// It is refused for this reason.
    Refuse(u32),
    /// The listed process of that node lives: it is told so each time that it asks.
    Duplicate,
}

impl Leader {
    /// A node asks to be made a member, and says how many heartbeats it has answered.
    pub(crate) fn handle_join(&mut self, facts: &Facts<'_>, member: Member, answered: u64) {
        let Some(leading) = &mut self.leading else { return };
        let known = facts.state.members.get(member.id);
        let wanted = known.is_some() || facts.config.auto_join || self.operations.adds(member.id);
        if member.id == facts.me.id || !wanted || !make_room(facts, &mut leading.joins, member.id) {
            return;
        }
        let Some(boot) = member.boot else { return };
        let to = Incarnation { id: member.id, boot };
        self.outputs.push_back(LeaderOutput::Call { to, raft: member.raft });
        if facts.state.removed.contains(&boot) {
            self.outputs.push_back(refusal(facts, member.id, boot, &member.name, REASON_REMOVED));
            return;
        }
        let expires = facts.now + EXPIRES;
        let new = PendingJoin { member: member.clone(), answered, conflict_since: None, expires };
        let join = leading.joins.entry(member.id).or_insert(new);
        if join.member.boot != member.boot {
            join.conflict_since = None;
        }
        (join.member, join.answered) = (member, answered);
        join.expires = expires;
        leading.dirty = true;
    }

    /// Lets in whoever can be let in, and refuses whoever cannot.
    pub(super) fn joins(&mut self, facts: &Facts<'_>) -> Vec<Op> {
        let Some(leading) = &mut self.leading else { return Vec::new() };
        let mut ops: Vec<Op> = own_return(facts).into_iter().collect();
        let mut names = BTreeSet::new();
        let mut room = RAFT_MEMBERS_MAX.saturating_sub(facts.state.members.len());
        let (outputs, conduct) = (&mut self.outputs, &mut self.conduct);
        let mut held_until = None;
        leading.joins.retain(|&id, join| {
            let boot = join.member.boot.expect("a parsed record has a boot");
            match verdict(facts, id, boot, join, &mut names, room) {
                Verdict::Forget => false,
                Verdict::Wait => true,
                Verdict::Admit => {
                    if let Some(until) = conduct.waits_until(facts.now, &join.member.name) {
                        outputs.extend(conduct.remark(join));
                        held_until = earliest(held_until, Some(until));
                        return true;
                    }
                    conduct.handle_admitted(facts.now, join, boot);
                    room = room.saturating_sub(1);
                    ops.push(Op::Up(join.member.record(Some(boot))));
                    true
                }
                Verdict::Duplicate => {
                    outputs.extend(duplicate(facts, id, boot));
                    true
                }
                Verdict::Refuse(reason) => {
                    outputs.push_back(refusal(facts, id, boot, &join.member.name, reason));
                    false
                }
            }
        });
        if let Some(until) = held_until {
            leading.look_again(until);
        }
        if leading.joins.values().any(|join| join.conflict_since.is_some()) {
            leading.look_again(facts.now + facts.timing().liveness_interval);
        }
        ops
    }
}

/// Whether a request of this node has a place. Those that have expired make room first, then one of a node that is in
/// no table for one that is: a member is never kept out by strangers.
fn make_room(facts: &Facts<'_>, joins: &mut BTreeMap<RaftId, PendingJoin>, id: RaftId) -> bool {
    if joins.contains_key(&id) || joins.len() < RAFT_MEMBERS_MAX {
        return true;
    }
    joins.retain(|_, join| facts.now < join.expires);
    let is_listed = |id: RaftId| facts.state.members.get(id).is_some();
    if joins.len() >= RAFT_MEMBERS_MAX && is_listed(id) {
        let strangers = joins.iter().filter(|(other, _)| !is_listed(**other));
        let oldest = strangers.min_by_key(|(_, join)| join.expires).map(|(&other, _)| other);
        oldest.and_then(|other| joins.remove(&other));
    }
    joins.len() < RAFT_MEMBERS_MAX
}

/// Declared dead by an earlier leader, then elected: nobody else can let this node in again.
fn own_return(facts: &Facts<'_>) -> Option<Op> {
    let own = Member::own(facts.config, facts.me);
    let is_out = !own.non_member && !facts.is_up(facts.me) && facts.state.members.up_by_name(&own.name).is_none();
    is_out.then(|| Op::Up(own.record(Some(facts.me.boot))))
}

fn verdict(
    facts: &Facts<'_>,
    id: RaftId,
    boot: BootId,
    join: &mut PendingJoin,
    names: &mut BTreeSet<NodeName>,
    room: usize,
) -> Verdict {
    let members = &facts.state.members;
    // Whoever was taken out while it asked is refused when it asks again.
    if members.is_up(id, boot) || facts.state.removed.contains(&boot) || facts.now >= join.expires {
        return Verdict::Forget;
    }
    let patience = facts.leases.member_patience() * 2;
    if members.get(id).is_some_and(|member| member.boot.is_some()) {
        // An earlier boot of the same node: it will be found dead, and this one let in. If it goes on answering, its
        // data directory was copied.
        let since = *join.conflict_since.get_or_insert(facts.now);
        let answered_since = facts.leases.last_seen(id).is_some_and(|seen| seen >= since + patience);
        let asks_now = facts.now + EXPIRES == join.expires;
        let is_duplicate = answered_since && !facts.leases.is_silent(id);
        return if is_duplicate && asks_now { Verdict::Duplicate } else { Verdict::Wait };
    }
    // One that this leader cannot reach would have to be declared dead at once. Until it is reached, it keeps no name.
    let is_reached = facts.peers.is_connected_to(Incarnation { id, boot });
    let holder = members.up_by_name(&join.member.name).filter(|holder| holder.id != id);
    if holder.is_some() || is_reached && !names.insert(join.member.name.clone()) {
        // The name is kept by whoever is alive; a dead holder will be found out.
        let since = *join.conflict_since.get_or_insert(facts.now);
        // One that is not heard may be dead, with no quorum yet to say so: no reason to refuse for good.
        let is_silent = holder.is_some_and(|holder| facts.leases.is_silent(holder.id));
        let taken = !is_silent && facts.now >= since + patience;
        return if taken { Verdict::Refuse(REASON_NAME_TAKEN) } else { Verdict::Wait };
    }
    if room == 0 && members.get(id).is_none() {
        return Verdict::Refuse(REASON_TABLE_FULL);
    }
    if is_reached { Verdict::Admit } else { Verdict::Wait }
}

fn refusal(facts: &Facts<'_>, id: RaftId, boot: BootId, name: &NodeName, reason: u32) -> LeaderOutput {
    let (name, cluster) = (name.to_string(), facts.state.cluster.id.get());
    let refused = Refused { reason, name, cluster, boot: boot.get(), ..Refused::default() };
    LeaderOutput::Tell(Incarnation { id, boot }, Box::new(FrameBody::JoinRefused(refused)))
}

/// Tells this boot of a node that another one is the member.
fn duplicate(facts: &Facts<'_>, id: RaftId, boot: BootId) -> Option<LeaderOutput> {
    let listed = facts.state.members.get(id)?;
    let refused = duplicate_refused(listed, facts.state.cluster.id, boot);
    Some(LeaderOutput::Tell(Incarnation { id, boot }, Box::new(FrameBody::JoinRefused(refused))))
}

/// What a process is told that has the identity of this member.
pub(crate) fn duplicate_refused(listed: &Member, cluster: ClusterId, boot: BootId) -> Refused {
    let (name, address) = (listed.name.to_string(), listed.raft.to_string());
    Refused { reason: REASON_IDENTITY, name, cluster: cluster.get(), boot: boot.get(), address, ..Refused::default() }
}

/// When the last request of a node ends that could lead after a leader which keeps nothing.
pub(super) fn heir_expires(facts: &Facts<'_>, joins: &BTreeMap<RaftId, PendingJoin>) -> Option<Timestamp> {
    let could_lead = |join: &&PendingJoin| {
        let member = &join.member;
        let is_fit = !member.never_votes && !member.non_member && member.name != facts.config.name;
        is_fit && !facts.config.durable && facts.now < join.expires
    };
    joins.values().filter(could_lead).map(|join| join.expires).max()
}
