//! What the application sees of its node.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::endpoints::EndpointView;
use crate::config::Participation;
use crate::consensus::RaftRole;
use crate::event::Event;
use crate::id::{BootId, Epoch, Incarnation, NodeName, RaftId, Term, WorkerId};
use crate::shards::{RouteNode, RouteTable};
use crate::state::{LeaseReason, Member, State};
use crate::status::{
    Counters, GossipStatus, MemberStatus, NodeState, PinStatus, RaftStatus, Role, Status, StatusDraft, TimingStatus,
};
use crate::time::Timestamp;

/// What was shown last.
#[derive(Debug, Default)]
pub(super) struct View {
    routes: Arc<RouteTable>,
    route_version: u64,
    routes_stale: bool,
    state: Option<NodeState>,
    leader: Option<(RaftId, Term)>,
    /// The last event about leaders named this one.
    leader_told: bool,
    leader_gone_at: Option<Timestamp>,
    pub(super) endpoints: EndpointView,
    pub(super) counters: Counters,
    epoch: Epoch,
    over_capacity: u32,
    /// When the present lease runs out and the state may change with it.
    lease_check: Option<Timestamp>,
}

impl View {
    pub(super) fn routes_changed(&mut self) {
        self.routes_stale = true;
    }

    pub(super) fn routes(&self) -> Arc<RouteTable> {
        Arc::clone(&self.routes)
    }

    pub(super) fn route_version(&self) -> u64 {
        self.route_version
    }

    /// Notes the leader; true if it is another than before.
    pub(super) fn leader_changed(&mut self, leader: Option<RaftId>, term: Term) -> bool {
        let new = leader.map(|leader| (leader, term));
        let changed = new != self.leader;
        self.leader = new;
        changed
    }

    /// The event that is due about the leader, whose name is this as far as it is known. A node that joins hears its
    /// leader before it knows its name: it tells of that leader when it can name it.
    fn note_told(&mut self, name: Option<NodeName>, term: Term) -> Option<Event> {
        let told = std::mem::replace(&mut self.leader_told, name.is_some());
        (told || name.is_some()).then_some(Event::Leader { leader: name, term })
    }

    /// Notes the map epoch; true if it is another than before.
    pub(super) fn epoch_changed(&mut self, epoch: Epoch) -> bool {
        std::mem::replace(&mut self.epoch, epoch) != epoch
    }

    /// Notes how many shards there is no room for; true if it is another number than before.
    pub(super) fn over_capacity_changed(&mut self, shards: u32) -> bool {
        std::mem::replace(&mut self.over_capacity, shards) != shards
    }

    /// For how long no leader is heard.
    pub(super) fn leader_gone_since(&self, now: Timestamp) -> Duration {
        self.leader_gone_at.map_or(Duration::ZERO, |at| now.since(at))
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.lease_check
    }
}

impl Node {
    /// There is another leader, or none, or another term.
    pub(super) fn announce_leader(&mut self, leader: Option<RaftId>, term: Term) {
        let own_name = |id| (id == self.me.id).then(|| self.config.name.clone());
        let name = leader.and_then(|id| self.name_of(id).or_else(|| own_name(id)));
        if let Some(event) = self.view.note_told(name, term) {
            self.event(event);
        }
    }

    /// The table changed: perhaps it has the leader's name now.
    pub(super) fn announce_unnamed_leader(&mut self) {
        if let Some((leader, term)) = self.view.leader.filter(|_| !self.view.leader_told) {
            self.announce_leader(Some(leader), term);
        }
    }

    /// Brings state and route table up to date, and tells if they changed.
    pub(super) fn refresh_view(&mut self, now: Timestamp) {
        let heard = self.consensus.leader().is_some() && !self.liveness.leader_is_silent();
        self.view.leader_gone_at = if heard { None } else { Some(self.view.leader_gone_at.unwrap_or(now)) };
        let table_changed = std::mem::take(&mut self.view.routes_stale);
        self.refresh_endpoints(table_changed);
        if table_changed {
            let routes = self.make_routes();
            if routes != *self.view.routes {
                self.view.routes = Arc::new(routes);
                self.view.route_version += 1;
            }
        }
        let state = self.node_state(now);
        let lease_until = self.liveness.lease_until();
        self.view.lease_check = (state == NodeState::Operational && lease_until > now).then_some(lease_until);
        if self.view.state != Some(state) {
            self.view.state = Some(state);
            self.event(Event::State(state));
        }
    }

    fn node_state(&self, now: Timestamp) -> NodeState {
        if self.joining.has_left() {
            return NodeState::Stopping;
        }
        if self.joining.is_leaving() {
            return NodeState::Draining;
        }
        if self.joining.is_looking() {
            return NodeState::Starting;
        }
        let Some(state) = self.state.as_ref().filter(|state| state.members.is_up(self.me.id, self.me.boot)) else {
            return NodeState::Joining;
        };
        let owned = state.map.held_by(self.me);
        if self.consensus.leader().is_none() || owned > 0 && now >= self.liveness.lease_until() {
            return NodeState::Voting;
        }
        if self.moves.is_active() { NodeState::Resharding } else { NodeState::Operational }
    }

    fn make_routes(&self) -> RouteTable {
        let Some(state) = &self.state else { return RouteTable::default() };
        let mut owners: Vec<Incarnation> = state.map.owners().to_vec();
        // Members without a shard have endpoints too.
        for member in state.members.iter() {
            let boot = member.boot.map(|boot| Incarnation { id: member.id, boot });
            owners.extend(boot.filter(|owner| !state.map.owners().contains(owner)));
        }
        let nodes = owners.iter().map(|owner| route_node(state, *owner)).collect();
        let me = owners.iter().position(|owner| *owner == self.me);
        let columns = state.map.columns();
        RouteTable::new(state.map.epoch(), nodes, me, columns.owners, columns.epochs, columns.moving)
            .with_worker(self.worker_id())
    }

    fn worker_id(&self) -> Option<WorkerId> {
        let state = self.state.as_ref().filter(|state| state.members.is_up(self.me.id, self.me.boot))?;
        state.workers.of(self.me)
    }

    pub(super) fn draft_status(&self) -> StatusDraft {
        let (heartbeats_sent, heartbeats_answered) = self.liveness.heartbeat_counts();
        let gossip = self.gossip.counters();
        let counters = Counters {
            heartbeats_sent,
            heartbeats_answered,
            gossip_dropped: gossip.dropped(),
            gossip,
            ..self.view.counters
        };
        let state = self.state.as_ref();
        let leader = self.consensus.leader();
        let status = Status {
            name: self.config.name.clone(),
            id: self.me.id,
            boot: self.me.boot,
            cluster: self.peers.identity.cluster,
            state: self.view.state.unwrap_or(NodeState::Starting),
            role: self.role(),
            leader: leader.and_then(|id| Some(state?.members.get(id)?.name.clone())),
            term: self.consensus.term(),
            commit_index: self.consensus.commit(),
            applied_index: self.consensus.applied(),
            epoch: state.map_or_else(Default::default, |state| state.map.epoch()),
            shards_total: state.map_or(0, |state| state.map.shards()),
            shards_owned: state.map_or(0, |state| state.map.held_by(self.me)),
            created_ns: state.map_or(0, |state| state.cluster.created_ns),
            generation: state.map_or(0, |state| state.cluster.generation),
            ownership: state.map(|state| state.cluster.ownership),
            over_capacity: state.map_or(0, State::over_capacity),
            worker_id: self.worker_id(),
            pins: state.map_or_else(Vec::new, pin_statuses),
            timing: self.timing_status(),
            lease_until: self.liveness.lease_until(),
            members: self.member_statuses(),
            counters,
        };
        StatusDraft { status, seen: self.gossip.seen().collect() }
    }

    fn timing_status(&self) -> Option<TimingStatus> {
        let (cluster, timing) = (&self.state.as_ref()?.cluster, &self.config.timing);
        let reason = match cluster.lease_reason {
            LeaseReason::LateAnswers(id) => match self.name_of(id) {
                Some(name) => format!("late answers of {name}"),
                None => "late answers of a member that is gone".into(),
            },
            other => other.to_string(),
        };
        Some(TimingStatus {
            lease: cluster.lease,
            lease_min: cluster.lease_min,
            lease_max: cluster.lease_max,
            heartbeat: timing.liveness_interval,
            leader_timeout: timing.leader_timeout,
            member_timeout: timing.member_timeout(),
            reason,
        })
    }

    fn role(&self) -> Role {
        if self.config.participation == Participation::NonMember {
            return Role::NonMember;
        }
        let id = self.me.id;
        if self.consensus.role() == RaftRole::Leader {
            Role::Leader
        } else if self.consensus.voters().contains(&id) {
            Role::Follower
        } else if self.consensus.learners().contains(&id) {
            Role::Learner
        } else {
            Role::Unknown
        }
    }

    /// The members of the replicated table.
    fn member_statuses(&self) -> Vec<MemberStatus> {
        let mut statuses = BTreeMap::<String, MemberStatus>::new();
        let (voters, learners, leader) = (self.consensus.voters(), self.consensus.learners(), self.consensus.leader());
        // Of a joint configuration, only who votes before and after can be relied on.
        let outgoing = self.consensus.outgoing_voters();
        let raft = |id: RaftId| match () {
            () if voters.contains(&id) && (outgoing.is_empty() || outgoing.contains(&id)) => RaftStatus::Voter,
            () if [&voters, &outgoing, &learners].iter().any(|ids| ids.contains(&id)) => RaftStatus::Learner,
            () => RaftStatus::None,
        };
        let Some(state) = &self.state else { return Vec::new() };
        // A dead member may have the name of a live one that took its place: the live one is shown.
        let mut members: Vec<&Member> = state.members.iter().collect();
        members.sort_by_key(|member| member.boot.is_some());
        for member in members {
            let seen = self.gossip.member(member.name.as_str());
            // A live process of its name is the member's next one, or somebody else who has come in its place: another
            // member, or one who shows no identity, such as an observer.
            let (another, next) = match &seen {
                Some(seen) if seen.status == GossipStatus::Alive => {
                    let (id, boot) = process_of(&seen.tags);
                    (id != Some(member.id), boot.is_some() && boot != member.boot)
                }
                _ => (false, false),
            };
            let shown = seen.as_ref().map_or(GossipStatus::None, |seen| seen.status);
            let gossip = if another { GossipStatus::Failed } else { shown };
            let endpoints = match &seen {
                // It is not taken in yet, so the table shows where its former process listened.
                Some(seen) if next && !another => shown_endpoints(&seen.tags),
                _ => member.all_endpoints(),
            };
            let gossip_address = seen.map(|seen| seen.addr);
            let shards = state.map.held_by_node(member.id);
            let status = MemberStatus {
                name: member.name.to_string(),
                id: Some(member.id),
                boot: member.boot,
                gossip,
                gossip_address,
                raft: raft(member.id),
                leader: leader == Some(member.id),
                reached: member.id == self.me.id || self.peers.is_connected(member.id),
                shards,
                drained: member.cordoned,
                endpoints,
            };
            statuses.insert(member.name.to_string(), status);
        }
        statuses.into_values().collect()
    }
}

fn shown_endpoints(tags: &BTreeMap<String, String>) -> BTreeMap<String, SocketAddr> {
    let endpoints = tags.iter().filter(|(name, _)| crate::config::is_endpoint_name(name));
    endpoints.filter_map(|(name, at)| Some((name.clone(), at.parse().ok()?))).collect()
}

/// The identity that a process shows in gossip.
fn process_of(tags: &BTreeMap<String, String>) -> (Option<RaftId>, Option<BootId>) {
    let number = |tag: &str| u64::from_str_radix(tags.get(tag)?, 16).ok();
    (number("funk.id").and_then(RaftId::new), number("funk.boot").and_then(BootId::new))
}

fn route_node(state: &State, owner: Incarnation) -> RouteNode {
    let member = state.members.get(owner.id);
    let unnamed = || format!("gone-{}", owner.id).parse().expect("hex digits make a name");
    RouteNode {
        id: owner.id,
        boot: owner.boot,
        name: member.map_or_else(unnamed, |member| member.name.clone()),
        endpoints: member.map(Member::all_endpoints).unwrap_or_default(),
        up: member.is_some_and(|member| member.boot == Some(owner.boot)),
        leaving: member.is_some_and(|member| member.boot == Some(owner.boot) && member.leaving),
    }
}

fn pin_statuses(state: &State) -> Vec<PinStatus> {
    let pin = |(shards, node): (std::ops::Range<u32>, &NodeName)| {
        let member = state.members.up_by_name(node).filter(|member| member.may_own());
        PinStatus { shards, node: node.clone(), honoured: member.is_some() }
    };
    state.pins.iter().map(pin).collect()
}
