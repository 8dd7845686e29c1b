//! The live nodes' endpoints, as this node shows them.
//!
//! For a member of the cluster the replicated table decides, dead or alive:
//! it is quicker than gossip, and it holds the endpoints that did not fit into
//! gossip's tags. For all others gossip decides.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Node;
use crate::config::is_endpoint_name;
use crate::endpoints::{EndpointSet, NodeEndpoints};
use crate::error::{Misbehaviour, RequestError};
use crate::gossip::GossipMember;
use crate::id::RaftId;
use crate::limits::ENDPOINTS_MAX;
use crate::state::Member;
use crate::status::GossipStatus;
use crate::time::Timestamp;
use crate::wire::cluster::{FrameBody, MemberRecord};

/// What was shown last, and what may have changed since.
#[derive(Debug, Default)]
pub(super) struct EndpointView {
    set: Arc<EndpointSet>,
    version: u64,
    /// Nodes of which gossip has news.
    stale: BTreeSet<String>,
    /// Nodes of the replicated table when it was last looked at.
    listed: BTreeSet<String>,
}

impl EndpointView {
    /// Gossip has news of a node.
    pub(super) fn node_changed(&mut self, name: String) {
        self.stale.insert(name);
    }
}

impl Node {
    /// Grows with every change of [`Node::endpoints`].
    pub fn endpoints_version(&self) -> u64 {
        self.view.endpoints.version
    }

    /// The endpoints of all live nodes, this one among them.
    pub fn endpoints(&self) -> Arc<EndpointSet> {
        Arc::clone(&self.view.endpoints.set)
    }

    /// Brings the snapshot up to date. `table_changed`: the replicated table may be new.
    pub(super) fn refresh_endpoints(&mut self, table_changed: bool) {
        let mut stale = std::mem::take(&mut self.view.endpoints.stale);
        if table_changed {
            let members = self.state.iter().flat_map(|state| state.members.iter());
            let listed: BTreeSet<String> = members.map(|member| member.name.to_string()).collect();
            stale.extend(std::mem::replace(&mut self.view.endpoints.listed, listed.clone()));
            stale.extend(listed);
        }
        let mut changed = false;
        for name in stale {
            let endpoints = self.endpoints_of(&name);
            if !self.view.endpoints.set.has(&name, &endpoints) {
                // Others may hold the snapshot that was shown: it is copied before it changes.
                Arc::make_mut(&mut self.view.endpoints.set).set(&name, endpoints);
                changed = true;
            }
        }
        self.view.endpoints.version += u64::from(changed);
    }

    /// None for a node that does not live.
    fn endpoints_of(&self, name: &str) -> NodeEndpoints {
        if self.view.endpoints.listed.contains(name) {
            let members = self.state.iter().flat_map(|state| state.members.iter());
            // A dead member may have the name of the live one that took its place.
            let mut up = members.filter(|member| member.name.as_str() == name && member.boot.is_some());
            return up.next().map(|member| member.all_endpoints()).unwrap_or_default();
        }
        match self.gossip.member(name) {
            Some(GossipMember { status: GossipStatus::Alive | GossipStatus::Leaving, tags, .. }) => {
                let endpoints = tags.into_iter().filter(|(name, _)| is_endpoint_name(name));
                endpoints.filter_map(|(name, addr)| Some((name, addr.parse().ok()?))).collect()
            }
            _ => NodeEndpoints::new(),
        }
    }

    pub(super) fn set_endpoint(
        &mut self,
        now: Timestamp,
        name: String,
        address: Option<SocketAddr>,
    ) -> Result<(), RequestError> {
        let full = self.config.endpoints.len() >= ENDPOINTS_MAX && !self.config.endpoints.contains_key(&name);
        if !is_endpoint_name(&name) || address.is_some() && full {
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

    pub(super) fn handle_update(&mut self, from: RaftId, record: MemberRecord) -> Result<(), Misbehaviour> {
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
    pub(super) fn refresh_own_record(&mut self, now: Timestamp) {
        let own = self.state.as_ref().and_then(|state| state.members.get(self.me.id));
        if own.is_some_and(|own| own.boot == Some(self.me.boot) && own.endpoints != self.config.endpoints) {
            self.publish_own_record(now);
        }
    }
}
