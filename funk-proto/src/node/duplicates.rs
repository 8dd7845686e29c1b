//! Two clusters of one name.
//!
//! From two bootstraps at one moment: neither can know which one was meant, so
//! nobody decides it but the operator: members of both say so and go on, a
//! node that is in neither goes away.
//!
//! From a recovery: the later generation shows the ids of those before it, so
//! newcomers pass these by, and their nodes learn that they are out.

use std::collections::{BTreeMap, BTreeSet};

use super::Node;
use crate::config::Participation;
use crate::error::Refusal;
use crate::event::Event;
use crate::id::ClusterId;
use crate::limits::FORMER_CLUSTERS_SHOWN;
use crate::peers::Identity;
use crate::time::Timestamp;
use crate::wire::gossip::GossipMember;

/// The tag of a recovered cluster's members: its generation, and the ids of those before it.
const TAG: &str = "funk.former";

/// What [`TAG`] shows, the latest of the former generations first; `None` in a cluster that was never recovered.
pub(super) fn tag(identity: &Identity) -> Option<(&'static str, String)> {
    let former = identity.former.iter().rev().take(FORMER_CLUSTERS_SHOWN);
    let shown = former.fold(identity.generation.to_string(), |shown, id| format!("{shown},{id}"));
    (!identity.former.is_empty()).then_some((TAG, shown))
}

/// The generation, and the ids of those before it.
fn former(member: &GossipMember) -> Option<(u64, impl Iterator<Item = &str>)> {
    let (generation, ids) = member.tags.get(TAG)?.split_once(',')?;
    Some((generation.parse().ok()?, ids.split(',').take(FORMER_CLUSTERS_SHOWN)))
}

impl Node {
    /// Alive nodes of this cluster's name that are in a cluster, and the id of
    /// that, as gossip shows them. This node is not among them, and none of a
    /// generation that another one took the place of.
    pub(super) fn in_clusters(&self) -> impl Iterator<Item = (GossipMember, String)> + '_ {
        let own = self.config.name.as_str();
        let alive = || {
            let ours = self.gossip.alive_with("meta.clusterName", self.config.cluster.as_str());
            ours.filter(move |member| member.name != own)
        };
        let mut over = BTreeSet::new();
        for member in alive() {
            over.extend(former(&member).into_iter().flat_map(|(_, ids)| ids).map(str::to_owned));
        }
        let placed = alive().filter_map(|member| member.tags.get("funk.cluster").cloned().map(|id| (member, id)));
        placed.filter(move |(_, cluster)| !over.contains(cluster))
    }

    /// A node is seen in the cluster `theirs`: perhaps another one of this name than this node's.
    pub(super) fn report_duplicate(&mut self, member: &GossipMember, theirs: &str) {
        let Some(ours) = self.peers.identity.cluster.filter(|ours| theirs != ours.to_string()) else { return };
        let before_us = self.peers.identity.former.iter().any(|former| theirs == former.to_string());
        if before_us || !self.joining.handle_duplicate(theirs) {
            return;
        }
        let later = former(member).and_then(|(generation, mut ids)| {
            let present = ClusterId::new(u64::from_str_radix(theirs, 16).ok()?)?;
            let us = ids.any(|id| id == ours.to_string());
            us.then_some(Refusal::FormerGeneration { former: ours, present, generation })
        });
        if let Some(refusal) = later {
            tracing::error!("{refusal}");
            self.event(Event::JoinFailed { address: member.addr, reason: refusal.to_string() });
            return;
        }
        tracing::error!(%ours, theirs, node = member.name, "two clusters have this name: stop the nodes of one of them");
        self.event(Event::TwinCluster { ours, theirs: theirs.to_owned(), node: member.name.clone() });
    }

    /// Whether this node cannot join because it sees two clusters of its name.
    pub(super) fn refuses_duplicates(&mut self, now: Timestamp) -> bool {
        if self.peers.identity.cluster.is_some() || self.config.participation == Participation::NonMember {
            return false;
        }
        let mut clusters = BTreeMap::new();
        for (member, cluster) in self.in_clusters() {
            clusters.entry(cluster).or_insert(member.name);
            if clusters.len() > 1 {
                break;
            }
        }
        let mut clusters = clusters.into_iter();
        let (Some(one), Some(other)) = (clusters.next(), clusters.next()) else { return false };
        self.gossip.leave(now);
        self.refuse(now, Refusal::TwoClusters { clusters: [one, other] });
        true
    }
}
