//! What only the leader does: write the member table, hand shards out, choose
//! the voters. It acts by entries alone; nothing here takes effect before it
//! is committed.

mod map;
mod voting;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Node;
use crate::config::Timing;
use crate::error::Misbehaviour;
use crate::id::{BootId, Incarnation, LogIndex, RaftId, ShardId, Term};
use crate::limits::WORKER_ID_GUARD;
use crate::mutate::{Mutant, planted};
use crate::shards::plan::Releases;
use crate::state::{Member, worker_record};
use crate::time::{Timestamp, earliest};
use crate::wire::cluster::{
    BootName, Command, FrameBody, MemberRecord, Op, Operation, REASON_NAME_TAKEN, REASON_REMOVED, REASON_TABLE_FULL,
    Refused,
};
use prost::Message;

/// Pause after a change that consensus refused.
const RETRY: Duration = Duration::from_millis(20);

/// A node that asked to be made a member.
#[derive(Debug)]
struct PendingJoin {
    member: Member,
    /// Since when a live member of that name stands in its way.
    conflict_since: Option<Timestamp>,
    /// Forget the request then: the joiner asks again while it wants in.
    expires: Timestamp,
}

/// The leader's volatile state, for one term.
#[derive(Debug)]
pub(super) struct Leading {
    pub(super) term: Term,
    /// The first entry of the own term is applied.
    pub(super) ready: bool,
    joins: BTreeMap<RaftId, PendingJoin>,
    leaves: BTreeSet<Incarnation>,
    updates: BTreeMap<RaftId, MemberRecord>,
    releases: Releases,
    /// Own entry about members or shards that is not applied yet.
    outstanding: Option<LogIndex>,
    /// Something changed since the last look.
    dirty: bool,
    look_at: Option<Timestamp>,
    voters: BTreeSet<RaftId>,
    /// No voter change before: a quorum of today must meet every quorum whose promise still runs.
    voters_not_before: Timestamp,
    transfer_at: Timestamp,
    /// Grants to these members end if they have not applied the move by then.
    moves: Vec<(RaftId, LogIndex, Timestamp)>,
}

impl Leading {
    pub(super) fn new(now: Timestamp, term: Term, voters: BTreeSet<RaftId>, timing: &Timing) -> Self {
        Self {
            term,
            ready: false,
            joins: BTreeMap::new(),
            leaves: BTreeSet::new(),
            updates: BTreeMap::new(),
            releases: Releases::default(),
            outstanding: None,
            dirty: true,
            look_at: None,
            voters,
            voters_not_before: now + voters_wait(timing),
            transfer_at: now,
            moves: Vec::new(),
        }
    }

    /// Promises of a former set of voters may run for so much longer.
    pub(super) fn handle_clock_gap(&mut self, gap: Duration) {
        if !planted(Mutant::GapEndsWaits) {
            self.voters_not_before = self.voters_not_before + gap;
        }
    }

    /// Something changed: look again.
    pub(super) fn wake(&mut self) {
        self.dirty = true;
    }

    pub(super) fn applied(&mut self, index: LogIndex) {
        if self.outstanding.is_some_and(|outstanding| index >= outstanding) {
            self.outstanding = None;
            self.dirty = true;
        }
    }

    pub(super) fn conf_changed(&mut self, now: Timestamp, voters: BTreeSet<RaftId>, timing: &Timing) {
        if voters != self.voters {
            self.voters = voters;
            self.voters_not_before = now + voters_wait(timing);
        }
        self.dirty = true;
    }

    pub(super) fn release(&mut self, owner: Incarnation, change: LogIndex, shards: &[ShardId]) {
        self.releases.insert(owner, change, shards);
        self.dirty = true;
    }

    pub(super) fn asked_to_leave(&self, owner: Incarnation) -> bool {
        self.leaves.contains(&owner)
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        earliest(self.look_at, self.moves.iter().map(|&(_, _, at)| at).min())
    }

    pub(super) fn look_again(&mut self, at: Timestamp) {
        self.look_at = earliest(self.look_at, Some(at));
    }
}

/// No voter change for so long: the longest promise there may be.
fn voters_wait(timing: &Timing) -> Duration {
    if planted(Mutant::VotersChangeTooEarly) { Duration::ZERO } else { timing.waiter(timing.lease) }
}

impl Node {
    /// One round of the leader's duties. True if it did something.
    pub(super) fn lead_step(&mut self, now: Timestamp) -> bool {
        let stalled = self.stalls_at().is_some_and(|at| now >= at);
        let Some(leading) = &mut self.leading else { return false };
        let due = leading.poll_timeout().is_some_and(|at| now >= at);
        if !leading.ready && !planted(Mutant::ReadyBeforeOwnTerm) || !(leading.dirty || due || stalled) {
            return false;
        }
        leading.dirty = false;
        leading.look_at = None;
        self.enforce_moves(now);
        self.end_reached_operations();
        self.change_voters(now);
        self.hand_over_leadership(now);
        self.lead_out(now);
        let outstanding = self.leading.as_ref().is_some_and(|leading| leading.outstanding.is_some());
        if !outstanding && !self.write_members(now) {
            self.write_map(now);
        }
        true
    }

    fn propose_operations(&mut self, now: Timestamp, ops: Vec<Op>) -> Option<LogIndex> {
        let operations = ops.into_iter().map(|op| Operation { op: Some(op) }).collect();
        let bytes = Command { operations }.encode_to_vec();
        match self.consensus.propose(now, bytes.into()) {
            Ok(index) => {
                if let Some(leading) = &mut self.leading {
                    leading.outstanding = Some(index);
                }
                Some(index)
            }
            Err(why) => {
                tracing::debug!(?why, "proposal refused");
                if let Some(leading) = &mut self.leading {
                    leading.look_again(now + RETRY);
                }
                None
            }
        }
    }

    // ---- the member table ----

    /// Proposes what is due in the member table. False if nothing is.
    fn write_members(&mut self, now: Timestamp) -> bool {
        let mut ops = self.deaths(now);
        ops.extend(self.joins(now));
        ops.extend(self.departures());
        ops.extend(self.operation_steps());
        ops.extend(self.free_workers(now));
        if let Some(leading) = &mut self.leading {
            ops.extend(std::mem::take(&mut leading.updates).into_values().map(Op::Update));
        }
        if ops.is_empty() {
            return false;
        }
        self.propose_operations(now, ops);
        true
    }

    /// Worker ids of boots that are over, whose last lease has run out since
    /// the guard time: other boots may have them.
    fn free_workers(&mut self, now: Timestamp) -> Vec<Op> {
        let (Some(state), Some(leading)) = (&self.state, &mut self.leading) else { return Vec::new() };
        let guard = self.config.timing.waiter(WORKER_ID_GUARD);
        let mut ops = Vec::new();
        for (worker, owner) in state.workers.iter() {
            if owner == self.me || state.members.is_up(owner.id, owner.boot) {
                continue;
            }
            let lease_ends = self.liveness.inherited_until().max(self.liveness.grant_end(owner.id, owner.boot));
            if now >= lease_ends + guard || planted(Mutant::WorkerIdNotGuarded) {
                ops.push(Op::FreeWorker(worker_record(worker, owner)));
            } else {
                leading.look_again(lease_ends + guard);
            }
        }
        ops
    }

    /// Members that are silent, while a quorum still backs this leader: one
    /// that is cut off itself must not call the others dead.
    fn deaths(&mut self, now: Timestamp) -> Vec<Op> {
        let gone = self.gone(now);
        if let (Some(due), Some(leading)) = (self.evidence_due(now), &mut self.leading) {
            leading.look_again(due);
        }
        if gone.is_empty() {
            return Vec::new();
        }
        if now >= self.liveness.authority_until() {
            if let Some(leading) = &mut self.leading {
                leading.look_again(now + self.config.timing.liveness_interval);
            }
            return Vec::new();
        }
        for &dead in &gone {
            if self.is_dead_by_evidence(now, dead) && !self.liveness.is_silent(dead.id) {
                self.liveness.given_up(now, dead.id);
            }
        }
        self.counters.members_declared_dead += gone.len() as u64;
        gone.into_iter().map(|dead| Op::Dead(dead.into())).collect()
    }

    fn gone(&self, now: Timestamp) -> Vec<Incarnation> {
        let members = self.state.iter().flat_map(|state| state.members.iter());
        let gone = members.filter_map(|member| {
            let owner = Incarnation { id: member.id, boot: member.boot? };
            let is_gone = self.has_ended(owner)
                || self.is_dead_by_evidence(now, owner)
                || self.liveness.is_silent(owner.id)
                || self.has_restarted(owner.id, owner.boot);
            is_gone.then_some(owner)
        });
        gone.collect()
    }

    /// A node keeps its id in its data directory, which one process holds: that
    /// another boot of it asks to join says that this one has ended. How long
    /// its lease may still run is another matter, and waited for as always.
    fn has_restarted(&self, id: RaftId, listed: BootId) -> bool {
        if id == self.me.id {
            return listed != self.me.boot;
        }
        let joins = self.leading.as_ref().and_then(|leading| leading.joins.get(&id));
        joins.and_then(|join| join.member.boot).is_some_and(|boot| boot != listed && self.peers.boot(id) == Some(boot))
    }

    /// Takes a join request in, or passes it on to the leader.
    pub(super) fn handle_join(&mut self, now: Timestamp, record: MemberRecord) -> Result<(), Misbehaviour> {
        let member = Member::parse(&record).ok_or(Misbehaviour::Malformed("join request"))?;
        self.former_boots_have_ended(now, member.id, &record.former);
        let Some(leading) = &mut self.leading else {
            if let Some(leader) = self.consensus.leader().filter(|&leader| leader != self.me.id) {
                self.peers.send(now, leader, FrameBody::Join(record));
            }
            return Ok(());
        };
        let listed = self.state.as_ref().is_some_and(|state| state.members.get(member.id).is_some());
        let wanted = listed || self.config.auto_join || self.operations.adds(member.id);
        let removed = member.boot.filter(|boot| self.state.as_ref().is_some_and(|state| state.removed.contains(boot)));
        if member.id == self.me.id || !wanted || leading.joins.len() >= crate::limits::RAFT_MEMBERS_MAX {
            return Ok(());
        }
        let joiner = member.boot.map(|boot| Incarnation { id: member.id, boot });
        let known = self.state.as_ref().and_then(|state| state.members.get(member.id)).and_then(|known| known.boot);
        if let Some(joiner) = joiner.filter(|joiner| known.is_none_or(|known| known == joiner.boot)) {
            self.peers.call(now, joiner, member.raft);
        }
        if let (Some(boot), Some(state)) = (removed, &self.state) {
            let (name, cluster) = (member.name.to_string(), state.cluster.id.get());
            let refused = Refused { reason: REASON_REMOVED, name, cluster, boot: boot.get(), ..Refused::default() };
            self.peers.send(now, member.id, FrameBody::JoinRefused(refused));
            return Ok(());
        }
        let expires = now + Duration::from_secs(2);
        let join = leading.joins.entry(member.id).or_insert_with(|| PendingJoin {
            member: member.clone(),
            conflict_since: None,
            expires,
        });
        (join.member, join.expires) = (member, expires);
        leading.wake();
        Ok(())
    }

    fn joins(&mut self, now: Timestamp) -> Vec<Op> {
        let patience = self.config.timing.member_timeout() * 2;
        let mut ops = Vec::new();
        // Declared dead by a former leader, then elected: nobody else can take it in.
        let own = self.own_member();
        let (Some(state), Some(leading)) = (&self.state, &mut self.leading) else { return ops };
        if !own.non_member
            && !state.members.is_up(own.id, self.me.boot)
            && state.members.up_by_name(&own.name).is_none()
        {
            ops.push(Op::Up(own.record(Some(self.me.boot))));
        }
        let (liveness, peers) = (&self.liveness, &self.peers);
        let mut refused = Vec::new();
        let mut names = BTreeSet::new();
        let mut room = crate::limits::RAFT_MEMBERS_MAX.saturating_sub(state.members.len());
        leading.joins.retain(|&id, join| {
            let boot = join.member.boot.expect("a parsed record has a boot");
            // Whoever was taken out while it asked is refused when it asks again.
            if state.members.is_up(id, boot) || state.removed.contains(&boot) || now >= join.expires {
                return false;
            }
            let holder = state.members.up_by_name(&join.member.name).filter(|holder| holder.id != id);
            if state.members.get(id).is_some_and(|member| member.boot.is_some()) {
                // A former boot of the same node: it is found dead, and this one let in.
                return true;
            }
            if holder.is_some() || !names.insert(join.member.name.clone()) {
                // The name is kept by whoever is alive; a dead holder will be found out.
                let since = *join.conflict_since.get_or_insert(now);
                // One that is not heard may be dead, with no quorum yet to say so: no reason to refuse for good.
                let silent = holder.is_some_and(|holder| liveness.is_silent(holder.id));
                let taken = !silent && now >= since + patience;
                if taken {
                    refused.push((id, boot, REASON_NAME_TAKEN, join.member.name.to_string()));
                }
                return !taken;
            }
            if room == 0 && state.members.get(id).is_none() {
                refused.push((id, boot, REASON_TABLE_FULL, join.member.name.to_string()));
                return false;
            }
            if !peers.is_connected_to(Incarnation { id, boot }) {
                // Whom this leader cannot reach, it would have to declare dead at once.
                return true;
            }
            room = room.saturating_sub(1);
            ops.push(Op::Up(join.member.record(Some(boot))));
            true
        });
        if leading.joins.values().any(|join| join.conflict_since.is_some()) {
            leading.look_again(now + self.config.timing.liveness_interval);
        }
        for (id, boot, reason, name) in refused {
            let refused =
                Refused { reason, name, cluster: state.cluster.id.get(), boot: boot.get(), ..Refused::default() };
            self.peers.send(now, id, FrameBody::JoinRefused(refused));
        }
        ops
    }

    /// A node asks to leave; its request is passed on to the leader.
    pub(super) fn handle_leave(&mut self, now: Timestamp, name: BootName) -> Result<(), Misbehaviour> {
        const WHAT: Misbehaviour = Misbehaviour::Malformed("leave request");
        let leaver = Incarnation::named(name).ok_or(WHAT)?;
        let Some(leading) = &mut self.leading else {
            if let Some(leader) = self.consensus.leader().filter(|&leader| leader != self.me.id) {
                self.peers.send(now, leader, FrameBody::Leave(name));
            }
            return Ok(());
        };
        if !leading.ready {
            return Ok(());
        }
        if self.state.as_ref().is_some_and(|state| state.members.is_up(leaver.id, leaver.boot)) {
            leading.leaves.insert(leaver);
            leading.wake();
        } else {
            self.peers.send(now, leaver.id, FrameBody::Farewell(name));
        }
        Ok(())
    }

    /// Leavers start to drain; those that are drained and do not vote are out.
    /// Those with a data directory only stop: they keep their place, and their vote.
    /// If everybody leaves there is nobody to drain to, and all are out at once.
    fn departures(&mut self) -> Vec<Op> {
        let (Some(state), Some(leading)) = (&self.state, &mut self.leading) else { return Vec::new() };
        leading.leaves.retain(|leaver| state.members.is_up(leaver.id, leaver.boot));
        let heirs = state.members.iter().any(Member::may_own);
        let voters = self.consensus.voters();
        let outgoing = self.consensus.outgoing_voters();
        let name = |member: &Member, boot: u64| BootName { id: member.id.get(), boot };
        let mut ops = Vec::new();
        for member in state.members.iter() {
            if self.operations.removes(member.id) {
                // An operation of its own takes it out.
                continue;
            }
            let votes = voters.contains(&member.id) || outgoing.contains(&member.id);
            let Some(boot) = member.boot else {
                // A data directory that was lost comes back as another member of that name.
                let stays = member.durable && state.members.up_by_name(&member.name).is_none();
                if !stays && !votes && !self.consensus.learners().contains(&member.id) {
                    ops.push(Op::Removed(name(member, 0)));
                }
                continue;
            };
            let owner = Incarnation { id: member.id, boot };
            if !member.draining {
                if leading.leaves.contains(&owner) {
                    ops.push(Op::Drain(name(member, boot.get())));
                }
                continue;
            }
            let holds_none = state.map.held_by(owner) == 0;
            if member.durable {
                // It goes without its place: the data directory brings it back.
                let asked = leading.leaves.contains(&owner);
                if asked && member.id != self.me.id && (holds_none || !heirs) {
                    ops.push(Op::Dead(name(member, boot.get())));
                }
                continue;
            }
            let drained = holds_none && !votes;
            if member.id != self.me.id && (drained || !heirs) {
                ops.push(Op::Removed(name(member, boot.get())));
            }
        }
        ops
    }

    /// This leader leaves, and there is nobody that could lead or own after it. If it
    /// keeps nothing, it waits for who asks to come in and could: they would find no cluster.
    fn lead_out(&mut self, now: Timestamp) {
        let (Some(state), Some(leading)) = (&self.state, &mut self.leading) else { return };
        let own = state.members.get(self.me.id);
        let others = state.members.iter().any(|member| member.id != self.me.id && member.boot.is_some());
        if !own.is_some_and(|own| own.draining && own.boot == Some(self.me.boot)) || others {
            return;
        }
        let config = &self.config;
        let heir = |join: &&PendingJoin| {
            let member = &join.member;
            let could = !member.non_voting && !member.non_member && member.name != config.name;
            could && !config.durable && now < join.expires
        };
        if let Some(expires) = leading.joins.values().filter(heir).map(|join| join.expires).max() {
            leading.look_again(expires);
        } else {
            self.leave_is_done(now);
        }
    }

    pub(super) fn request_update(&mut self, mut record: MemberRecord) {
        record.former.clear();
        if let (Some(leading), Some(id)) = (&mut self.leading, RaftId::new(record.id)) {
            leading.updates.insert(id, record);
            leading.wake();
        }
    }
}
