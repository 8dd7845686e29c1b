//! How a node gets into its cluster, and out of it.
//!
//! | phase | what the node does |
//! |---|---|
//! | look round | a bootstrap with join addresses or discovery looks for a cluster of its name first |
//! | asking | not a member, or cut off from the leader: asks one known node after another |
//! | member | nothing, as long as a leader is heard |
//! | leaving | asks the leader to be drained and taken out, until it is told farewell |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Node, twins};
use crate::config::{NodeConfig, Participation};
use crate::error::{Misbehaviour, Refusal, RequestError};
use crate::event::Event;
use crate::id::{BootId, Incarnation, NodeName, RaftId};
use crate::limits::{BOOTSTRAP_LOOK_ROUND, NAMESAKES_MAX};
use crate::state::Member;
use crate::status::GossipStatus;
use crate::time::Timestamp;
use crate::wire::cluster::{BootName, FrameBody, REASON_REMOVED, REASON_TABLE_FULL, Refused};

/// Pause between two requests.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Pause between two attempts at the configured addresses while this node is
/// out: those that it met first may be gone.
const REJOIN: Duration = Duration::from_secs(2);
/// A member that heard no leader for so long asks whether it is still in.
const CUT_OFF: Duration = Duration::from_millis(500);

/// Where the node is on its way in or out.
#[derive(Debug)]
pub(super) struct Joining {
    look_round_until: Option<Timestamp>,
    ask_at: Option<Timestamp>,
    asked: usize,
    rejoin_at: Timestamp,
    pub(super) leaving: bool,
    pub(super) left: bool,
    refused: bool,
    /// Nodes of a cluster whose names gossip shows at others' addresses, and their clusters.
    namesakes: BTreeMap<RaftId, String>,
    /// Other clusters of this one's name that were told of.
    pub(super) twins: BTreeSet<String>,
}

impl Joining {
    pub(super) fn new(config: &NodeConfig, now: Timestamp) -> Self {
        let pause = if config.join.is_empty() && !config.discovery { Duration::ZERO } else { BOOTSTRAP_LOOK_ROUND };
        Self {
            look_round_until: config.bootstrap.then(|| now + pause),
            ask_at: (!config.bootstrap && config.participation != Participation::NonMember).then_some(now),
            asked: 0,
            rejoin_at: now + REJOIN,
            leaving: false,
            left: false,
            refused: false,
            namesakes: BTreeMap::new(),
            twins: BTreeSet::new(),
        }
    }

    /// The node is of a cluster already: no new one is begun, and the way back in is asked for.
    pub(super) fn resume(&mut self, ask_at: Option<Timestamp>) {
        (self.look_round_until, self.ask_at) = (None, ask_at);
    }

    pub(super) fn looks_round(&self) -> bool {
        self.look_round_until.is_some()
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        if self.left || self.refused {
            return None;
        }
        self.look_round_until.or(self.ask_at)
    }
}

/// The tags that this node shows in gossip.
pub(super) fn tags(config: &NodeConfig, me: Incarnation) -> BTreeMap<String, String> {
    let mut tags: BTreeMap<String, String> =
        config.endpoints.iter().map(|(name, address)| (name.clone(), address.to_string())).collect();
    tags.insert("ep.serf".into(), config.serf.to_string());
    if !config.every_cluster {
        tags.insert("meta.clusterName".into(), config.cluster.to_string());
    }
    if !config.service.is_empty() {
        tags.insert("meta.serviceName".into(), config.service.clone());
    }
    // Whoever shows these can be made a member.
    if config.participation != Participation::NonMember {
        tags.insert("ep.raft".into(), config.raft.to_string());
        tags.insert("ep.liveness".into(), config.liveness.to_string());
        tags.insert("funk.id".into(), me.id.to_string());
        tags.insert("funk.boot".into(), me.boot.to_string());
    }
    tags
}

impl Node {
    pub(super) fn handle_joining_timeout(&mut self, now: Timestamp) {
        if self.joining.left || self.joining.refused {
            return;
        }
        if let Some(until) = self.joining.look_round_until {
            if now >= until {
                self.joining.look_round_until = None;
                self.bootstrap(now);
                self.gossip.look_only(now, false);
                self.joining.ask_at = Some(now + CUT_OFF);
            }
            return;
        }
        if self.joining.leaving {
            self.ask_to_leave(now);
        } else if self.is_out(now) {
            if now >= self.joining.rejoin_at {
                self.joining.rejoin_at = now + REJOIN;
                self.gossip.join(now, self.config.join.clone());
            }
            self.ask_to_join(now);
        } else {
            self.joining.ask_at = Some(now + CUT_OFF);
            self.joining.namesakes.clear();
            self.mend_own_record(now);
        }
    }

    /// Not a member by the applied table, or a member that hears no leader.
    pub(super) fn is_out(&self, now: Timestamp) -> bool {
        let member = self.state.as_ref().is_some_and(|state| state.members.is_up(self.me.id, self.me.boot));
        let cut_off = self.consensus.leader().is_none() || self.liveness.leader_is_silent();
        !member || cut_off && self.view.leader_gone_since(now) >= CUT_OFF
    }

    // ---- getting in ----

    /// A gossip member is new or changed: it may be a cluster that a bootstrap
    /// must not double, or a door to the cluster that a joiner looks for.
    pub(super) fn notice_gossip_member(&mut self, now: Timestamp, name: &str) {
        let Some(member) = self.gossip.members().find(|member| member.name == name) else { return };
        let tag = |name: &str| member.tags.get(name);
        if member.name == self.config.name.as_str()
            || tag("meta.clusterName").is_none_or(|name| name != self.config.cluster.as_str())
        {
            return;
        }
        if let (Some(id), Some(raft)) =
            (tag("funk.id").and_then(|id| parse_id(id)), tag("ep.raft").and_then(|at| at.parse().ok()))
        {
            self.peers.learn(id, raft);
        }
        let Some(cluster) = tag("funk.cluster").filter(|_| member.status == GossipStatus::Alive) else { return };
        if self.joining.looks_round() {
            let refusal = Refusal::ClusterExists { node: member.name.clone(), cluster: cluster.clone() };
            self.refuse(refusal);
        } else if !self.sees_twin(now, &member, cluster) {
            self.ask_to_join(now);
        }
    }

    /// Two live nodes have one name, and gossip lists the other: this one may be the door all the same.
    pub(super) fn notice_namesake(&mut self, now: Timestamp, tags: &BTreeMap<String, String>) {
        let ours = tags.get("meta.clusterName").is_some_and(|name| name == self.config.cluster.as_str());
        let id = tags.get("funk.id").and_then(|id| parse_id(id)).filter(|_| ours);
        let raft = tags.get("ep.raft").and_then(|at| at.parse().ok());
        let (Some(id), Some(raft), Some(cluster)) = (id, raft, tags.get("funk.cluster")) else { return };
        if !self.is_out(now) {
            return;
        }
        if self.joining.namesakes.len() >= NAMESAKES_MAX {
            self.joining.namesakes.clear();
        }
        self.peers.learn(id, raft);
        self.joining.namesakes.insert(id, cluster.clone());
        self.ask_to_join(now);
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) {
        if !std::mem::replace(&mut self.joining.refused, true) {
            self.event(Event::Refused(refusal));
        }
    }

    /// The nodes that may know the leader: those of the member table, and those
    /// that gossip shows in a cluster.
    fn doors(&self) -> Vec<RaftId> {
        let table = self.state.iter().flat_map(|state| state.members.iter()).map(|member| member.id);
        let ours = self.peers.identity.cluster.map(|cluster| cluster.to_string());
        let is_ours = |cluster: &String| ours.as_ref().is_none_or(|ours| ours == cluster);
        let gossip = self.in_clusters().filter(|(_, cluster)| is_ours(cluster));
        let gossip = gossip.filter_map(|(member, _)| parse_id(member.tags.get("funk.id")?));
        let namesakes = self.joining.namesakes.iter().filter(|(_, cluster)| is_ours(cluster)).map(|(&id, _)| id);
        let doors: BTreeSet<RaftId> = table.chain(gossip).chain(namesakes).filter(|&id| id != self.me.id).collect();
        doors.into_iter().collect()
    }

    /// Sends a join request to the next door, if this node is out.
    pub(super) fn ask_to_join(&mut self, now: Timestamp) {
        let idle = self.joining.leaving || self.joining.looks_round() || self.joining.ask_at.is_none();
        if idle || self.joining.refused || !self.is_out(now) {
            return;
        }
        self.joining.ask_at = Some(now + ASK_AGAIN);
        let doors = self.doors();
        if doors.is_empty() {
            return;
        }
        for _ in 0..doors.len() {
            self.joining.asked = (self.joining.asked + 1) % doors.len();
            let request = FrameBody::Join(self.join_request());
            if self.peers.send(now, doors[self.joining.asked], request) {
                return;
            }
        }
    }

    /// A stream to this peer stands: it may be the way in.
    pub(super) fn ask_to_join_through(&mut self, now: Timestamp, peer: RaftId) {
        let waits = self.joining.ask_at.is_some() && !self.joining.leaving && !self.joining.looks_round();
        if waits && self.is_out(now) && self.doors().contains(&peer) {
            let request = FrameBody::Join(self.join_request());
            self.peers.send(now, peer, request);
        }
    }

    pub(super) fn handle_join_refused(&mut self, now: Timestamp, refused: &Refused) -> Result<(), Misbehaviour> {
        let member = self.state.as_ref().is_some_and(|state| state.members.is_up(self.me.id, self.me.boot));
        // A removed node may not have heard that it is no member any more, and one that has long
        // heard no leader may be none: the cluster gave its name away.
        let news = refused.reason == REASON_REMOVED || self.is_out(now);
        if refused.boot != self.me.boot.get() || member && !news {
            return Ok(());
        }
        self.refuse(match refused.reason {
            REASON_TABLE_FULL => Refusal::TableFull,
            REASON_REMOVED => Refusal::Removed,
            _ => Refusal::NameTaken(self.config.name.clone()),
        });
        Ok(())
    }

    /// The applied table says that this boot is a member.
    pub(super) fn become_member(&mut self, now: Timestamp) {
        let Some(state) = &self.state else { return };
        let cluster = state.cluster.id;
        if self.peers.identity.cluster != Some(cluster) {
            self.peers.enter_cluster(now, cluster);
            self.show_cluster(now);
        }
        // An endpoint may have changed since the record was handed in.
        self.mend_own_record(now);
    }

    /// Shows in gossip which cluster this node is in. Those before it come first:
    /// whoever saw another cluster of the name without them would take it for a twin.
    pub(super) fn show_cluster(&mut self, now: Timestamp) {
        if let Some((name, shown)) = twins::tag(&self.peers.identity) {
            self.gossip.set_tag(now, name, Some(shown));
        }
        let cluster = self.peers.identity.cluster.map(|cluster| cluster.to_string());
        self.gossip.set_tag(now, "funk.cluster", cluster);
    }

    // ---- getting out ----

    pub(super) fn begin_leave(&mut self, now: Timestamp) {
        if std::mem::replace(&mut self.joining.leaving, true) {
            return;
        }
        self.gossip.announce_leave(now);
        let member = self.state.as_ref().is_some_and(|state| state.members.is_up(self.me.id, self.me.boot));
        if member {
            self.ask_to_leave(now);
        } else {
            self.leave_is_done(now);
        }
    }

    fn ask_to_leave(&mut self, now: Timestamp) {
        self.joining.ask_at = Some(now + ASK_AGAIN);
        // A leader without the frame's detour; a follower through whom it follows.
        let _ = self.handle_leave(now, self.me.into());
    }

    pub(super) fn handle_farewell(&mut self, now: Timestamp, name: BootName) -> Result<(), Misbehaviour> {
        let ours = Incarnation::named(name) == Some(self.me);
        if ours && self.joining.leaving {
            self.leave_is_done(now);
        } else if ours {
            self.refuse(Refusal::Removed);
        }
        Ok(())
    }

    pub(super) fn leave_is_done(&mut self, now: Timestamp) {
        if !std::mem::replace(&mut self.joining.left, true) {
            if !self.config.durable {
                self.gossip.leave(now);
            }
            self.event(Event::Left);
        }
    }

    /// A boot of a member is dead: perhaps one that asked for it, and waits to be told.
    pub(super) fn member_has_stopped(&mut self, now: Timestamp, id: RaftId, boot: BootId) {
        if id != self.me.id {
            let stopped = Incarnation { id, boot };
            if self.leader.has_asked_to_leave(stopped) {
                self.peers.send(now, id, FrameBody::Farewell(stopped.into()));
            }
        } else if self.joining.leaving && boot == self.me.boot {
            self.leave_is_done(now);
        } else {
            self.ask_to_join(now);
        }
    }

    /// A member is out of the table.
    pub(super) fn member_is_gone(&mut self, now: Timestamp, member: &Member, left: bool) {
        let status = if left { GossipStatus::Left } else { GossipStatus::Failed };
        self.tell_gossip(&member.name, member.id, status);
        let (name, id) = (member.name.clone(), member.id);
        if left {
            self.event(Event::MemberLeft { name, id });
            if let (true, Some(boot)) = (self.leader.leads(), member.boot) {
                self.peers.send(now, id, FrameBody::Farewell(Incarnation { id, boot }.into()));
            }
        }
        if id == self.me.id && self.joining.leaving {
            self.leave_is_done(now);
        } else if id == self.me.id && self.state.as_ref().is_some_and(|state| state.removed.contains(&self.me.boot)) {
            self.refuse(Refusal::Removed);
        }
        self.liveness.forget_peer(id);
    }

    /// The verdict on a member is no verdict on whoever has its name since.
    pub(super) fn tell_gossip(&mut self, name: &NodeName, id: RaftId, status: GossipStatus) {
        if self.gossip.tag(name, "funk.id").is_none_or(|shown| shown == id.to_string()) {
            self.gossip.set_status(name, status);
        }
    }

    // ---- endpoints ----

    pub(super) fn set_endpoint(
        &mut self,
        now: Timestamp,
        name: String,
        address: Option<std::net::SocketAddr>,
    ) -> Result<(), RequestError> {
        let full =
            self.config.endpoints.len() >= crate::limits::ENDPOINTS_MAX && !self.config.endpoints.contains_key(&name);
        if !crate::config::is_endpoint_name(&name) || address.is_some() && full {
            return Err(RequestError::Endpoint(name));
        }
        self.gossip.set_tag(now, name.clone(), address.map(|address| address.to_string()));
        match address {
            Some(address) => self.config.endpoints.insert(name, address),
            None => self.config.endpoints.remove(&name),
        };
        self.publish_own_record(now);
        Ok(())
    }

    /// Brings the replicated record in line with this node's endpoints.
    pub(super) fn publish_own_record(&mut self, now: Timestamp) {
        let record = Member::own(&self.config, self.me).record(Some(self.me.boot));
        if self.leader.leads() {
            self.leader.handle_update(record);
        } else if let Some(leader) = self.consensus.leader() {
            self.peers.send(now, leader, FrameBody::Update(record));
        }
    }

    pub(super) fn handle_update(
        &mut self,
        from: RaftId,
        record: crate::wire::cluster::MemberRecord,
    ) -> Result<(), Misbehaviour> {
        if record.id != from.get() || Member::parse(&record).is_none() {
            return Err(Misbehaviour::Malformed("member update"));
        }
        let Some(state) = &self.state else { return Ok(()) };
        let listed = state.members.get(from);
        if listed.is_some_and(|member| member.boot.is_some() && member.record(member.boot) != record) {
            self.leader.handle_update(record);
        }
        Ok(())
    }

    /// The leader that was told of the own endpoints may be gone, or what it
    /// was told lost: tell it again.
    pub(super) fn mend_own_record(&mut self, now: Timestamp) {
        let own = self.state.as_ref().and_then(|state| state.members.get(self.me.id));
        if own.is_some_and(|own| own.boot == Some(self.me.boot) && own.endpoints != self.config.endpoints) {
            self.publish_own_record(now);
        }
    }
}

fn parse_id(text: &str) -> Option<RaftId> {
    RaftId::new(u64::from_str_radix(text, 16).ok()?)
}
