//! What an applied entry, a snapshot or a new role means to this node.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;

use super::Node;
use crate::config::ClusterTiming;
use crate::consensus::RaftRole;
use crate::error::Refusal;
use crate::event::Event;
use crate::id::{Epoch, Incarnation, LogIndex, NodeName, RaftId, ShardId, Term};
use crate::io::Output;
use crate::leader::Leader;
use crate::liveness::MemberView;
use crate::mutate::{Mutant, planted};
use crate::state::{Change, State, snapshot};
use crate::status::GossipStatus;
use crate::time::Timestamp;
use crate::wire::cluster::Command;

/// A snapshot as consensus carries it: the cluster's state and the application's.
#[derive(Clone, PartialEq, Message)]
struct SnapshotBody {
    #[prost(bytes = "bytes", tag = "1")]
    state: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    user: Bytes,
}

/// A snapshot of the replicated state and the application's own.
pub(super) fn snapshot_body(state: &State, user: Bytes) -> Bytes {
    Bytes::from(SnapshotBody { state: snapshot::encode(state), user }.encode_to_vec())
}

impl Node {
    pub(super) fn apply_entry(&mut self, now: Timestamp, index: LogIndex, data: &Bytes) {
        let command = if data.is_empty() { Ok(Command::default()) } else { Command::decode(data.clone()) };
        let command = command.unwrap_or_else(|error| {
            // Only leaders append, and they append what they encoded.
            tracing::error!(%index, %error, "an entry of the log does not decode");
            Command::default()
        });
        let Some(state) = &mut self.state else { return };
        state.note_entry(index, data);
        let changes = state.apply(index, command);
        for change in &changes {
            self.apply_change(now, index, change);
        }
        self.applied(now, index, !changes.is_empty());
    }

    pub(super) fn apply_conf_change(&mut self, now: Timestamp, index: LogIndex) {
        if let Some(state) = &mut self.state {
            state.applied = index;
        }
        let present = planted(Mutant::VotersWaitForPresentLease);
        let longest = if present { self.config.timing.lease } else { self.liveness.longest_lease() };
        let longest = self.config.timing.waiter(longest);
        self.leader.handle_conf_change(now, self.consensus.voters(), longest);
        self.applied(now, index, true);
    }

    fn applied(&mut self, now: Timestamp, index: LogIndex, changed: bool) {
        let hash = self.state.as_ref().map_or(0, |state| state.hash);
        self.liveness.set_applied(index, hash);
        self.leader.handle_applied(index);
        let waits = self.leader.leads() && !self.leader.is_ready();
        if waits && self.consensus.own_term_start().is_some_and(|start| index >= start) {
            self.leader.handle_ready();
            self.refresh_members(now);
            self.with_leader(now, Leader::take_up_moves);
            self.liveness.set_ready(now);
            self.end_recovery();
        }
        if changed {
            self.refresh_members(now);
            let over = self.state.as_ref().map_or(0, State::over_capacity);
            if self.view.over_capacity_changed(over) {
                self.event(Event::OverCapacity { shards: over });
            }
        }
        let epoch = self.state.as_ref().map_or_else(Epoch::default, |state| state.map.epoch());
        if self.view.epoch_changed(epoch) {
            self.event(Event::Map { epoch });
        }
    }

    /// The leader says that it has applied other entries than this node. Whose fault that is, nobody can tell; but a
    /// majority follows the leader, and two maps must not both be served.
    pub(super) fn handle_differs(&mut self, now: Timestamp, from: RaftId, term: Term, index: LogIndex) {
        if self.consensus.leader() == Some(from) && self.consensus.term() == term {
            self.refuse(now, Refusal::Diverged { index });
        }
    }

    /// Tells liveness and peers who is who after the table, the voters or the role changed.
    pub(super) fn refresh_members(&mut self, now: Timestamp) {
        let Some(state) = &self.state else { return };
        for member in state.members.iter() {
            self.peers.learn_listed(now, member.id, member.raft);
            self.peers.learn_name(now, member.id, &member.name);
        }
        let (voters, outgoing) = (self.consensus.voters(), self.consensus.outgoing_voters());
        let mut known: BTreeSet<RaftId> = voters.union(&outgoing).copied().collect();
        known.extend(self.consensus.learners());
        let mut wanted: BTreeSet<RaftId> = voters.union(&outgoing).copied().collect();
        if self.leader.leads() {
            wanted.extend(&known);
            wanted.extend(state.members.iter().filter(|member| member.boot.is_some()).map(|member| member.id));
            let mut views: Vec<MemberView> = state
                .members
                .iter()
                .filter(|member| member.boot.is_some() || known.contains(&member.id))
                .map(|member| MemberView {
                    id: member.id,
                    boot: member.boot,
                    floor: member.up_index.max(member.taken_index),
                })
                .collect();
            let listed: BTreeSet<RaftId> = views.iter().map(|view| view.id).collect();
            let unlisted = known.into_iter().filter(|id| !listed.contains(id));
            views.extend(unlisted.map(|id| MemberView { id, boot: None, floor: LogIndex(0) }));
            self.liveness.set_members(now, &views, voters, outgoing);
        }
        self.peers.set_wanted(now, wanted);
        self.view.routes_changed();
        self.announce_unnamed_leader();
    }

    pub(super) fn name_of(&self, id: RaftId) -> Option<NodeName> {
        Some(self.state.as_ref()?.members.get(id)?.name.clone())
    }

    fn apply_change(&mut self, now: Timestamp, index: LogIndex, change: &Change) {
        self.leader.wake();
        match change {
            Change::Up(id) => self.handle_member_up(now, *id),
            Change::Down { who, stopped } => self.handle_member_down(now, *who, *stopped),
            Change::Left(member) | Change::Removed(member) => self.handle_member_gone(now, member, true),
            Change::Pruned(member) => self.handle_member_gone(now, member, false),
            Change::Lease => self.handle_lease_changed(now),
            Change::Ring => self.look_at_mark(now),
            Change::Leaving(_) | Change::Cordoned(_) | Change::Updated(_) | Change::Shares | Change::Worker(_) => {}
            Change::Moving { from, to, shards } => self.handle_moving(now, index, *from, *to, shards),
            Change::Owned { to, shards } => self.handle_owned(index, *to, shards),
            Change::User(entry) => self.handle_user_entry(index, entry),
        }
    }

    fn handle_member_up(&mut self, now: Timestamp, id: RaftId) {
        let Some(name) = self.name_of(id) else { return };
        if id == self.me.id {
            self.handle_membership(now);
        }
        self.tell_gossip(&name, id, GossipStatus::Alive);
        self.event(Event::MemberJoined { name, id });
    }

    fn handle_moving(
        &mut self,
        now: Timestamp,
        index: LogIndex,
        from: Incarnation,
        to: Incarnation,
        shards: &[ShardId],
    ) {
        self.moves.handle_moving(now, index, (from, to, self.me), shards);
        let (Some(from), Some(to)) = (self.name_of(from.id), self.name_of(to.id)) else { return };
        let count = u32::try_from(shards.len()).expect("the shard count is bounded");
        self.event(Event::Moving { epoch: index.into(), from, to, shards: count });
    }

    fn handle_owned(&mut self, index: LogIndex, to: Incarnation, shards: &[(ShardId, Option<Incarnation>)]) {
        let lost = shards.iter().filter(|(_, previous)| *previous == Some(self.me)).count() as u64;
        if to == self.me {
            self.view.counters.shards_gained += shards.len() as u64 - lost;
        } else {
            self.view.counters.shards_lost += lost;
        }
        for (shard, state) in self.moves.handle_owned(index, (to, self.me), shards) {
            self.outputs.push_back(Output::StateReceived { shard, epoch: index.into(), state });
        }
        if let Some(owner) = self.name_of(to.id) {
            let shards = shards.iter().map(|&(shard, _)| shard).collect();
            self.event(Event::Owned { epoch: index.into(), owner, shards });
        }
    }

    /// The intervals that hold under the cluster's lease.
    fn adopt_timing(&mut self, timing: ClusterTiming) {
        self.config.timing = self.liveness.set_cluster_timing(timing);
        self.consensus.set_lease(timing.lease);
    }

    fn handle_lease_changed(&mut self, now: Timestamp) {
        let Some(cluster) = self.state.as_ref().map(|state| &state.cluster) else { return };
        let (timing, reason) = (cluster.timing(), cluster.lease_reason);
        let from = std::mem::replace(&mut self.config.timing.lease, timing.lease);
        tracing::info!(?from, to = ?timing.lease, %reason, "the cluster's lease changed");
        self.adopt_timing(timing);
        self.leader.handle_lease_changed(now);
    }

    /// The whole replicated state is new: at the bootstrap, or from a leader's snapshot.
    pub(super) fn install_state(&mut self, now: Timestamp, state: State) {
        self.adopt_timing(state.cluster.timing());
        if let Err(error) = self.config.check() {
            tracing::warn!(%error, "this node's intervals do not fit the cluster's lease");
        }
        if self.config.ownership != state.cluster.ownership {
            let (ours, cluster) = (self.config.ownership.word(), state.cluster.ownership.word());
            tracing::warn!(ours, cluster, "ownership is a value of the cluster: its own holds, not this node's");
            self.config.ownership = state.cluster.ownership;
        }
        if self.joining.is_restarting {
            self.liveness.honour_former_boot(now);
        }
        self.peers.identity.generation = state.cluster.generation;
        self.peers.identity.former.clone_from(&state.cluster.former);
        let applied = state.applied;
        let member = state.members.is_up(self.me.id, self.me.boot);
        let before = self.up_members();
        self.moves.restore(now, self.me, &state);
        self.state = Some(state);
        self.look_at_mark(now);
        let after = self.up_members();
        let ids = |members: &[(RaftId, NodeName)]| members.iter().map(|(id, _)| *id).collect::<BTreeSet<RaftId>>();
        let (was_up, is_up) = (ids(&before), ids(&after));
        // How they went, the snapshot does not say; those who left in order are out of the table like the others.
        for (id, name) in before.into_iter().filter(|(id, _)| !is_up.contains(id)) {
            self.event(Event::MemberLeft { name, id });
        }
        for (id, name) in after.into_iter().filter(|(id, _)| !was_up.contains(id)) {
            self.event(Event::MemberJoined { name, id });
        }
        if member {
            self.handle_membership(now);
        }
        self.applied(now, applied, true);
    }

    fn up_members(&self) -> Vec<(RaftId, NodeName)> {
        let members = self.state.iter().flat_map(|state| state.members.iter());
        members.filter(|member| member.boot.is_some()).map(|member| (member.id, member.name.clone())).collect()
    }

    pub(super) fn install_snapshot(&mut self, now: Timestamp, index: LogIndex, bytes: &Bytes) {
        let body = SnapshotBody::decode(bytes.clone()).ok();
        let decoded = body.and_then(|body| Some((snapshot::decode(&body.state)?, body.user)));
        let Some((mut state, user)) = decoded else {
            tracing::error!(%index, "a snapshot does not decode");
            return;
        };
        state.applied = index;
        // What the snapshot covers is never told entry by entry.
        self.abandon_proposals();
        if !user.is_empty() {
            self.proposals.note_user_state();
            self.outputs.push_back(Output::SnapshotInstalled { index, state: user });
        }
        self.install_state(now, state);
    }

    /// Consensus wants a snapshot at the applied index. Without user entries
    /// there is nothing to ask the application for. The cluster's own state is
    /// kept as it is now, since more may be applied before the answer comes.
    pub(super) fn take_snapshot(&mut self, now: Timestamp) {
        let Some(state) = &self.state else { return };
        let index = self.consensus.applied();
        if self.proposals.has_user_state() {
            self.proposals.snapshot_at = Some((index, snapshot::encode(state)));
            self.outputs.push_back(Output::SnapshotWanted { index });
        } else {
            let body = snapshot_body(state, Bytes::new());
            self.consensus.provide_snapshot(now, index, body);
        }
    }

    /// The application's state after `index`, which was the last that was asked for.
    pub(super) fn handle_snapshot_taken(&mut self, now: Timestamp, index: LogIndex, user: &Bytes) {
        if self.take_recovered_state(now, index, user) {
            return;
        }
        if let Some((_, state)) = self.proposals.snapshot_at.take_if(|(asked, _)| *asked == index) {
            let body = SnapshotBody { state, user: user.clone() }.encode_to_vec();
            self.consensus.provide_snapshot(now, index, body.into());
        }
    }

    pub(super) fn change_role(&mut self, now: Timestamp, role: RaftRole, term: Term, leader: Option<RaftId>) {
        let leads = role == RaftRole::Leader;
        if leads && !self.leader.leads_in(term) {
            self.liveness.lead(now, term, self.consensus.elected_in());
            self.evidence.forget_cases();
            self.leader.lead(now, term, self.consensus.voters(), self.liveness.inherited_until());
        } else if !leads {
            self.leader.follow(self.me.id, leader);
            self.settle_leader(now);
            self.liveness.follow(now, leader);
        }
        if role == RaftRole::PreCandidate {
            self.view.counters.elections += 1;
        }
        self.refresh_members(now);
        if self.view.leader_changed(leader, term) {
            if let Some(incarnation) = leader.and_then(|leader| self.incarnation_of(leader)) {
                self.leader.note_leader(now, incarnation);
            }
            self.view.counters.leader_changes += 1;
            self.abandon_proposals();
            self.announce_leader(leader, term);
            self.moves.handle_new_leader(now);
            self.report_again(now);
            self.refresh_own_record(now);
        }
    }

    fn incarnation_of(&self, id: RaftId) -> Option<Incarnation> {
        Some(Incarnation { id, boot: self.state.as_ref()?.members.get(id)?.boot? })
    }
}
