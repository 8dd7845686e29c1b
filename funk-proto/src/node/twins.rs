//! Two clusters of one name, from two bootstraps at one moment. Neither can
//! know which one was meant, so nobody decides it but the operator: members of
//! both say so and go on, a node that is in neither goes away.

use std::collections::BTreeMap;

use super::Node;
use crate::config::Participation;
use crate::error::Refusal;
use crate::event::Event;
use crate::limits::TWIN_CLUSTERS_MAX;
use crate::status::GossipStatus;
use crate::time::Timestamp;
use crate::wire::gossip::GossipMember;

impl Node {
    /// Alive nodes of this cluster's name that are in a cluster, and the id of
    /// that, as gossip shows them. This node is not among them.
    pub(super) fn in_clusters(&self) -> impl Iterator<Item = (GossipMember, String)> + '_ {
        let alive = self.membership.members().filter(|member| {
            let same = member.tags.get("meta.clusterName").is_some_and(|name| name == self.config.cluster.as_str());
            same && member.status == GossipStatus::Alive && member.name != self.config.name.as_str()
        });
        alive.filter_map(|member| member.tags.get("funk.cluster").cloned().map(|cluster| (member, cluster)))
    }

    /// A node is seen in `cluster`. True if this node cannot join because of it.
    pub(super) fn sees_twin(&mut self, now: Timestamp, node: &str, cluster: &str) -> bool {
        match self.peers.identity.cluster {
            Some(ours) => {
                let twins = &mut self.joining.twins;
                let room = twins.len() < TWIN_CLUSTERS_MAX;
                if cluster != ours.to_string() && room && twins.insert(cluster.to_owned()) {
                    tracing::error!(
                        ours = %ours, theirs = cluster, node,
                        "two clusters have this name: stop the nodes of one of them"
                    );
                    self.event(Event::TwinCluster { ours, theirs: cluster.to_owned(), node: node.to_owned() });
                }
                false
            }
            None if self.config.participation == Participation::NonMember => false,
            None => self.refuse_twins(now),
        }
    }

    fn refuse_twins(&mut self, now: Timestamp) -> bool {
        let mut clusters = BTreeMap::new();
        for (member, cluster) in self.in_clusters() {
            clusters.entry(cluster).or_insert(member.name);
            if clusters.len() > 1 {
                break;
            }
        }
        let mut clusters = clusters.into_iter();
        let (Some(one), Some(other)) = (clusters.next(), clusters.next()) else { return false };
        self.membership.leave(now);
        self.refuse(Refusal::TwoClusters { clusters: [one, other] });
        true
    }
}
