//! What a client knows of the cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use funk_proto::id::ShardId;
use funk_proto::status::GossipStatus;
use funk_proto::wire::gossip::GossipMember;

/// A node that can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its boot: another one is another process. 0 for a node that shows none.
    pub boot: u64,
    /// Its endpoints by name.
    pub endpoints: BTreeMap<String, SocketAddr>,
    /// Whether it is about to leave: it answers what it has begun, also when it is no longer listed.
    pub leaving: bool,
}

/// Index that stands for nobody.
const NOBODY: u16 = u16::MAX;

/// The live nodes, their endpoints, and the owner of each shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    epoch: u64,
    nodes: Vec<NodeView>,
    owners: Vec<u16>,
}

impl ClusterView {
    /// A view of `owners.len()` shards. `owners[s]` indexes `nodes`; an index past
    /// its end stands for a shard that nobody may serve now.
    pub(super) fn new(epoch: u64, nodes: Vec<NodeView>, owners: impl IntoIterator<Item = usize>) -> Self {
        let count = nodes.len();
        let slot = |owner: usize| u16::try_from(owner).ok().filter(|_| owner < count).unwrap_or(NOBODY);
        Self { epoch, owners: owners.into_iter().map(slot).collect(), nodes }
    }

    /// What gossip shows of the cluster `name`: endpoints, but no owners.
    pub(super) fn of_members(members: &[GossipMember], name: &str) -> Self {
        let ours = |member: &&GossipMember| {
            let named = member.tags.get("meta.clusterName").is_none_or(|cluster| cluster == name);
            named && member.status == GossipStatus::Alive
        };
        let node = |member: &GossipMember| {
            let endpoints = member.tags.iter().filter(|(name, _)| name.starts_with("ep."));
            let boot = member.tags.get("funk.boot").and_then(|boot| u64::from_str_radix(boot, 16).ok());
            NodeView {
                name: member.name.clone(),
                boot: boot.unwrap_or(0),
                endpoints: endpoints.filter_map(|(name, at)| Some((name.clone(), at.parse().ok()?))).collect(),
                leaving: false,
            }
        };
        Self::new(0, members.iter().filter(ours).map(node).collect(), [])
    }

    /// The epoch of the shard map; 0 while no map is known.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The live nodes.
    pub fn nodes(&self) -> &[NodeView] {
        &self.nodes
    }

    /// Shards of the cluster; 0 while no map is known.
    pub fn shards(&self) -> u32 {
        u32::try_from(self.owners.len()).unwrap_or(u32::MAX)
    }

    /// The owner of a shard. `None`: the shard moves, or its owner is unknown.
    pub fn owner(&self, shard: ShardId) -> Option<&NodeView> {
        let owner = *self.owners.get(usize::try_from(shard.0).ok()?)?;
        self.nodes.get(usize::from(owner))
    }

    /// The nodes that serve the endpoint `name`, and where.
    pub fn serving<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a NodeView, SocketAddr)> + 'a {
        self.nodes.iter().filter_map(move |node| Some((node, *node.endpoints.get(name)?)))
    }

    /// The node that serves something at `address`.
    pub(super) fn at(&self, address: SocketAddr) -> Option<&NodeView> {
        self.nodes.iter().find(|node| node.endpoints.values().any(|at| *at == address))
    }

    /// This boot of a node, if it is still there.
    pub(super) fn node(&self, name: &str, boot: u64) -> Option<&NodeView> {
        self.nodes.iter().find(|node| node.name == name && node.boot == boot)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn node(number: u16) -> NodeView {
        let at = SocketAddr::from(([127, 0, 0, 1], number));
        NodeView {
            name: format!("n{number}"),
            boot: number.into(),
            endpoints: [("ep.x".to_owned(), at)].into(),
            leaving: false,
        }
    }

    #[test]
    fn owners_outside_of_the_nodes_are_nobody() {
        let view = ClusterView::new(7, vec![node(1), node(2)], [0, 1, 2, usize::MAX]);
        let owner = |shard| view.owner(ShardId(shard)).map(|node| node.name.as_str());
        assert_eq!([owner(0), owner(1), owner(2), owner(3), owner(4)], [Some("n1"), Some("n2"), None, None, None]);
        assert_eq!((view.epoch(), view.shards()), (7, 4));
        assert!(view.node("n1", 1).is_some() && view.node("n1", 2).is_none());
    }

    #[test]
    fn gossip_shows_the_live_members_of_the_cluster_and_of_none() {
        let member = |name: &str, cluster: Option<&str>, status| GossipMember {
            name: name.into(),
            addr: "127.0.0.1:1".parse().unwrap(),
            status,
            tags: [("ep.x", "127.0.0.1:2"), ("ep.bad", "nowhere"), ("other", "127.0.0.1:3"), ("funk.boot", "1f")]
                .into_iter()
                .chain(cluster.map(|cluster| ("meta.clusterName", cluster)))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            incarnation: 1,
        };
        let members = [
            member("a", Some("c"), GossipStatus::Alive),
            member("b", Some("d"), GossipStatus::Alive),
            member("c", None, GossipStatus::Alive),
            member("d", Some("c"), GossipStatus::Failed),
        ];
        let view = ClusterView::of_members(&members, "c");
        let names: Vec<_> = view.nodes().iter().map(|node| (node.name.as_str(), node.boot)).collect();
        assert_eq!(names, [("a", 0x1f), ("c", 0x1f)]);
        assert_eq!(view.nodes()[0].endpoints.len(), 1);
        assert_eq!(view.serving("ep.x").count(), 2);
        assert_eq!(view.owner(ShardId(0)), None);
    }
}
