//! The live nodes' endpoints, as this node shows them.
//!
//! For a member of the cluster the replicated table decides, dead or alive:
//! it is quicker than gossip, and it holds the endpoints that did not fit into
//! gossip's tags. For all others gossip decides.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Node;
use crate::config::is_endpoint_name;
use crate::endpoints::{EndpointSet, NodeEndpoints};
use crate::gossip::GossipMember;
use crate::status::GossipStatus;

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
        self.endpoints.version
    }

    /// The endpoints of all live nodes, this one among them.
    pub fn endpoints(&self) -> Arc<EndpointSet> {
        Arc::clone(&self.endpoints.set)
    }

    /// Brings the picture up to date. `table_changed`: the replicated table may be new.
    pub(super) fn refresh_endpoints(&mut self, table_changed: bool) {
        let mut stale = std::mem::take(&mut self.endpoints.stale);
        if table_changed {
            let members = self.state.iter().flat_map(|state| state.members.iter());
            let listed: BTreeSet<String> = members.map(|member| member.name.to_string()).collect();
            stale.extend(std::mem::replace(&mut self.endpoints.listed, listed.clone()));
            stale.extend(listed);
        }
        let mut changed = false;
        for name in stale {
            let endpoints = self.endpoints_of(&name);
            if !self.endpoints.set.has(&name, &endpoints) {
                // Others may hold the picture that was shown: it is copied before it changes.
                Arc::make_mut(&mut self.endpoints.set).set(&name, endpoints);
                changed = true;
            }
        }
        self.endpoints.version += u64::from(changed);
    }

    /// None for a node that does not live.
    fn endpoints_of(&self, name: &str) -> NodeEndpoints {
        if self.endpoints.listed.contains(name) {
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
}
