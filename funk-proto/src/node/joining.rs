//! The node's side of getting in: the contacts that it knows, what it asks there, and what it shows of itself. When it
//! asks is [`crate::joining`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::{Node, duplicates};
use crate::config::{NodeConfig, Participation};
use crate::error::{Misbehaviour, Refusal};
use crate::event::Event;
use crate::id::{ConnId, Incarnation, RaftId};
use crate::joining::CUT_OFF;
use crate::leader::duplicate_refused;
use crate::state::Member;
use crate::status::GossipStatus;
use crate::time::Timestamp;
use crate::wire::cluster::{FrameBody, Place, REASON_IDENTITY, REASON_REMOVED, REASON_TABLE_FULL, Refused};
use crate::wire::gossip::GossipMember;

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
    /// Not a member by the applied table, or a member that hears no leader.
    pub(super) fn is_out(&self, now: Timestamp) -> bool {
        let member = self.state.as_ref().is_some_and(|state| state.members.is_up(self.me.id, self.me.boot));
        let cut_off = self.consensus.leader().is_none() || self.liveness.leader_is_silent();
        !member || cut_off && self.view.leader_gone_since(now) >= CUT_OFF
    }

    /// A gossip member is new or changed: it may be a cluster that a bootstrap
    /// must not double, or a contact to the cluster that a joiner looks for.
    pub(super) fn handle_gossip_member(&mut self, now: Timestamp, member: &GossipMember) {
        let tag = |name: &str| member.tags.get(name);
        if member.name == self.config.name.as_str()
            || tag("meta.clusterName").is_none_or(|name| name != self.config.cluster.as_str())
        {
            return;
        }
        if let (Some(id), Some(raft)) =
            (tag("funk.id").and_then(|id| parse_id(id)), tag("ep.raft").and_then(|at| at.parse().ok()))
        {
            self.peers.learn(now, id, raft);
        }
        let Some(cluster) = tag("funk.cluster").filter(|_| member.status == GossipStatus::Alive) else { return };
        if self.joining.is_looking() {
            let refusal = Refusal::ClusterExists { node: member.name.clone(), cluster: cluster.clone() };
            self.refuse(now, refusal);
        } else {
            self.report_duplicate(member, cluster);
            self.joining.handle_cluster_seen();
        }
    }

    /// A join address has answered, or failed for this reason.
    pub(super) fn handle_source(&mut self, now: Timestamp, answer: Result<(), (SocketAddr, String)>) {
        self.joining.handle_source(now, self.gossip.awaits_answer());
        match answer {
            Ok(()) => self.joining.handle_cluster_seen(),
            Err((address, reason)) => self.event(Event::JoinFailed { address, reason }),
        }
    }

    /// Asks to be let in if gossip showed nodes in a cluster: at a few contacts, however many came together.
    pub(super) fn try_contacts(&mut self, now: Timestamp) {
        let contacts = self.joining.take_sightings();
        if contacts > 0 && !self.refuses_duplicates(now) {
            (0..contacts).for_each(|_| self.ask_to_join(now));
        }
    }

    /// Two live nodes have one name, and gossip lists the other: this one may be the contact all the same.
    pub(super) fn handle_namesake(&mut self, now: Timestamp, tags: &BTreeMap<String, String>) {
        let ours = tags.get("meta.clusterName").is_some_and(|name| name == self.config.cluster.as_str());
        let id = tags.get("funk.id").and_then(|id| parse_id(id)).filter(|_| ours);
        let raft = tags.get("ep.raft").and_then(|at| at.parse().ok());
        let (Some(id), Some(raft), Some(cluster)) = (id, raft, tags.get("funk.cluster")) else { return };
        if !self.is_out(now) {
            return;
        }
        self.peers.learn_another(now, id, raft);
        self.joining.handle_namesake(id, cluster.clone());
        self.ask_to_join(now);
    }

    /// A live node in gossip has this node's name. Of nodes of the cluster the
    /// leader decides who keeps it; an agent, or a node that is no member, has
    /// it for as long as it lives.
    pub(super) fn handle_name_held(&mut self, now: Timestamp, address: SocketAddr, tags: &BTreeMap<String, String>) {
        let cluster = tags.get("funk.cluster");
        if let Some(cluster) = cluster.filter(|_| self.joining.is_looking()) {
            let refusal = Refusal::ClusterExists { node: self.config.name.to_string(), cluster: cluster.clone() };
            self.refuse(now, refusal);
        } else if !tags.contains_key("funk.id") && self.is_newcomer(now) {
            tracing::debug!(name = %self.config.name, %address, "a live member of gossip has this node's name");
            self.refuse(now, Refusal::NameTaken(self.config.name.clone()));
        } else {
            self.handle_namesake(now, tags);
        }
    }

    /// No member yet, and none under an earlier boot. Once in, nobody takes a node out by coming under its name.
    fn is_newcomer(&self, now: Timestamp) -> bool {
        if self.config.participation == Participation::NonMember {
            return self.joining.is_new(now);
        }
        self.state.as_ref().is_none_or(|state| state.members.get(self.me.id).is_none())
    }

    /// The nodes that may know the leader: those of the member table, and those
    /// that gossip shows in a cluster.
    fn contacts(&self) -> Vec<RaftId> {
        let table = self.state.iter().flat_map(|state| state.members.iter()).map(|member| member.id);
        let ours = self.peers.identity.cluster.map(|cluster| cluster.to_string());
        let is_ours = |cluster: &String| ours.as_ref().is_none_or(|ours| ours == cluster);
        let gossip = self.in_clusters().filter(|(_, cluster)| is_ours(cluster));
        let gossip = gossip.filter_map(|(member, _)| parse_id(member.tags.get("funk.id")?));
        let namesakes = self.joining.namesakes().filter(|(_, cluster)| is_ours(cluster)).map(|(id, _)| id);
        let contacts: BTreeSet<RaftId> = table.chain(gossip).chain(namesakes).filter(|&id| id != self.me.id).collect();
        contacts.into_iter().collect()
    }

    /// A node that may know the leader has turned up: asks to be let in, if this node is out.
    pub(super) fn ask_to_join(&mut self, now: Timestamp) {
        let is_out = self.is_out(now);
        self.joining.handle_contact(now, is_out);
        self.settle_joining(now);
    }

    /// Sends a join request to the next contact that can be reached.
    pub(super) fn ask_next_contact(&mut self, now: Timestamp) {
        let contacts = self.contacts();
        for _ in 0..contacts.len() {
            let request = FrameBody::Join(self.join_request());
            if self.peers.send(now, contacts[self.joining.next_contact(contacts.len())], request) {
                return;
            }
        }
    }

    /// A stream to this peer stands: it may be the way in.
    pub(super) fn ask_to_join_through(&mut self, now: Timestamp, peer: RaftId) {
        if self.joining.asks_through(self.is_out(now)) && self.contacts().contains(&peer) {
            let request = FrameBody::Join(self.join_request());
            self.peers.send(now, peer, request);
        }
    }

    /// Tells a node that asked to be let in where the leader is. The leader must dial it and be dialled, and it may know
    /// where the leader was before it moved.
    pub(super) fn tell_leader(&mut self, conn: ConnId) {
        let place = self.consensus.leader().and_then(|leader| Some((leader, self.peers.reached_at(leader)?)));
        if let Some((leader, raft)) = place {
            let place = Place { id: leader.get(), raft: raft.to_string() };
            self.peers.answer(conn, FrameBody::LeaderAt(place));
        }
    }

    /// A member that hears no leader asks this node, which hears none either: they may be the majority, and either may
    /// have moved. Looks for it where it says that it is, as a leader would.
    pub(super) fn call_back(&mut self, now: Timestamp, member: &Member) {
        let hears_leader = self.consensus.leader().is_some() && !self.liveness.leader_is_silent();
        if let Some(boot) = member.boot.filter(|_| self.is_listed(member.id) && !hears_leader) {
            self.peers.call(now, Incarnation { id: member.id, boot }, member.raft);
        }
    }

    /// A node that was asked to let this one in says where the leader is: no more than where to look for it. A member that
    /// is behind may not list that node yet.
    pub(super) fn handle_leader_at(&mut self, now: Timestamp, place: &Place) -> Result<(), Misbehaviour> {
        const WHAT: Misbehaviour = Misbehaviour::Malformed("place of the leader");
        let id = RaftId::new(place.id).ok_or(WHAT)?;
        let raft = place.raft.parse().map_err(|_| WHAT)?;
        if self.state.is_some() && self.is_out(now) {
            self.peers.learn_another(now, id, raft);
        }
        Ok(())
    }

    pub(super) fn refuse(&mut self, now: Timestamp, refusal: Refusal) {
        // Nobody is to wait until a node that an operator took out has failed.
        if refusal == Refusal::Removed {
            self.gossip.leave(now);
        }
        self.joining.handle_refused(refusal);
        self.settle_joining(now);
    }

    /// A process asks to be let in that has the identity of the leader, which takes no stream of itself: it is
    /// refused here, if the leader goes on. True if it is not to be passed on.
    pub(super) fn refuse_duplicate_of_leader(
        &mut self,
        now: Timestamp,
        (conn, from): (ConnId, RaftId),
        joiner: &Member,
    ) -> bool {
        let (Some(state), Some(boot)) = (&self.state, joiner.boot) else { return false };
        let leader = self.consensus.leader().and_then(|leader| state.members.get(leader));
        let Some(leader) = leader.filter(|leader| leader.id == joiner.id && leader.boot != Some(boot)) else {
            return false;
        };
        let since = self.joining.note_duplicate_of_leader(now, boot);
        let patience = self.liveness.member_patience() * 2;
        let heard = self.liveness.last_heard(leader.id).is_some_and(|heard| heard >= since + patience);
        let is_alive = heard && leader.boot.is_some() && self.liveness.heard_boot(leader.id) == leader.boot;
        if is_alive && from == joiner.id {
            let refused = duplicate_refused(leader, state.cluster.id, boot);
            // On this very stream: at the other end of others of that id is the leader itself.
            self.peers.answer(conn, FrameBody::JoinRefused(refused));
        }
        true
    }

    pub(super) fn handle_join_refused(&mut self, now: Timestamp, refused: &Refused) -> Result<(), Misbehaviour> {
        let member = self.state.as_ref().is_some_and(|state| state.members.is_up(self.me.id, self.me.boot));
        // A removed node may not have heard that it is no member any more, and one that has long
        // heard no leader may be none: the cluster gave its name away.
        let news = refused.reason == REASON_REMOVED || self.is_out(now);
        if refused.boot != self.me.boot.get() || member && !news {
            return Ok(());
        }
        if refused.reason == REASON_TABLE_FULL {
            // It may have room later: this node goes on asking.
            if self.joining.may_report_full(now) {
                self.event(Event::JoinFailed { address: self.config.raft, reason: Refusal::TableFull.to_string() });
            }
            return Ok(());
        }
        let refusal = match refused.reason {
            REASON_REMOVED => Refusal::Removed,
            REASON_IDENTITY => Refusal::IdentityInUse {
                name: self.config.name.clone(),
                address: refused.address.chars().take(ADDRESS_SHOWN_MAX).collect(),
            },
            _ => Refusal::NameTaken(self.config.name.clone()),
        };
        self.refuse(now, refusal);
        Ok(())
    }

    /// The applied table says that this boot is a member.
    pub(super) fn handle_membership(&mut self, now: Timestamp) {
        let Some(state) = &self.state else { return };
        let cluster = state.cluster.id;
        if self.peers.identity.cluster != Some(cluster) {
            self.peers.enter_cluster(now, cluster);
            self.show_cluster(now);
        }
        // An endpoint may have changed since the record was handed in.
        self.refresh_own_record(now);
    }

    /// Shows in gossip which cluster this node is in. Those before it come first:
    /// whoever saw another cluster of the name without them would take it for a twin.
    pub(super) fn show_cluster(&mut self, now: Timestamp) {
        if let Some((name, shown)) = duplicates::tag(&self.peers.identity) {
            self.gossip.set_tag(now, name, Some(shown));
        }
        let cluster = self.peers.identity.cluster.map(|cluster| cluster.to_string());
        self.gossip.set_tag(now, "funk.cluster", cluster);
    }
}

/// Characters of an address that a peer names: as many as an IPv6 address with scope and port may have.
const ADDRESS_SHOWN_MAX: usize = 64;

fn parse_id(text: &str) -> Option<RaftId> {
    RaftId::new(u64::from_str_radix(text, 16).ok()?)
}
