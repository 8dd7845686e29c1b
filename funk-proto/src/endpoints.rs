//! Which endpoints the live nodes have, as one node knows it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// The endpoints of one node by name (`ep.*`).
pub type NodeEndpoints = BTreeMap<String, SocketAddr>;

/// An immutable snapshot of all live nodes' endpoints: members of the cluster,
/// and nodes that only gossip knows. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSet {
    nodes: BTreeMap<Arc<str>, Arc<NodeEndpoints>>,
}

/// One difference between two snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointEvent {
    /// A live node has an endpoint that it did not have, or lives now.
    Added {
        /// The node's name.
        node: Arc<str>,
        /// The endpoint's name.
        name: String,
        /// Where it is.
        addr: SocketAddr,
    },
    /// An endpoint is elsewhere.
    Changed {
        /// The node's name.
        node: Arc<str>,
        /// The endpoint's name.
        name: String,
        /// Where it is.
        addr: SocketAddr,
        /// Where it was.
        before: SocketAddr,
    },
    /// A node withdrew an endpoint, or lives no more.
    Removed {
        /// The node's name.
        node: Arc<str>,
        /// The endpoint's name.
        name: String,
        /// Where it was.
        addr: SocketAddr,
    },
}

impl EndpointSet {
    /// All endpoints: node, endpoint's name, address; by node, then by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, SocketAddr)> {
        self.nodes
            .iter()
            .flat_map(|(node, endpoints)| endpoints.iter().map(move |(name, addr)| (&**node, name.as_str(), *addr)))
    }

    /// Where `node` has the endpoint `name`.
    pub fn get(&self, node: &str, name: &str) -> Option<SocketAddr> {
        self.nodes.get(node)?.get(name).copied()
    }

    /// What is different from `before`, for endpoints that `wanted` takes by their names.
    pub fn changes_since(&self, before: &Self, wanted: impl Fn(&str) -> bool) -> Vec<EndpointEvent> {
        let none = NodeEndpoints::new();
        let mut events = Vec::new();
        let gone = before.nodes.iter().filter(|(node, _)| !self.nodes.contains_key(*node));
        for (node, old) in gone {
            compare(node, old, &none, &wanted, &mut events);
        }
        for (node, new) in &self.nodes {
            let old = before.nodes.get(node);
            // Most nodes are the same, and then it is the very same value.
            if !old.is_some_and(|old| Arc::ptr_eq(old, new)) {
                compare(node, old.map_or(&none, |old| old), new, &wanted, &mut events);
            }
        }
        events
    }

    /// Whether these are what the node has; a node without any has none.
    pub(crate) fn has(&self, node: &str, endpoints: &NodeEndpoints) -> bool {
        self.nodes.get(node).map_or(endpoints.is_empty(), |known| **known == *endpoints)
    }

    /// Sets what a node has; nothing at all forgets the node.
    pub(crate) fn set(&mut self, node: &str, endpoints: NodeEndpoints) {
        if endpoints.is_empty() {
            self.nodes.remove(node);
        } else {
            self.nodes.insert(node.into(), Arc::new(endpoints));
        }
    }
}

fn compare(
    node: &Arc<str>,
    old: &NodeEndpoints,
    new: &NodeEndpoints,
    wanted: &impl Fn(&str) -> bool,
    events: &mut Vec<EndpointEvent>,
) {
    let node = || Arc::clone(node);
    for (name, &addr) in old.iter().filter(|(name, _)| wanted(name) && !new.contains_key(*name)) {
        events.push(EndpointEvent::Removed { node: node(), name: name.clone(), addr });
    }
    for (name, &addr) in new.iter().filter(|(name, _)| wanted(name)) {
        match old.get(name) {
            None => events.push(EndpointEvent::Added { node: node(), name: name.clone(), addr }),
            Some(&before) if before != addr => {
                events.push(EndpointEvent::Changed { node: node(), name: name.clone(), addr, before });
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn endpoints(named: &[(&str, u16)]) -> NodeEndpoints {
        named.iter().map(|(name, port)| ((*name).to_owned(), at(*port))).collect()
    }

    #[test]
    fn the_changes_lead_from_one_picture_to_the_next() {
        let mut before = EndpointSet::default();
        before.set("a", endpoints(&[("ep.x", 1), ("ep.y", 2)]));
        before.set("b", endpoints(&[("ep.x", 3)]));
        assert!(before.has("b", &endpoints(&[("ep.x", 3)])) && before.has("c", &NodeEndpoints::new()));
        let mut after = before.clone();
        after.set("a", endpoints(&[("ep.x", 4), ("ep.z", 5)]));
        after.set("b", NodeEndpoints::new());
        after.set("c", endpoints(&[("ep.x", 6)]));

        let (name, node) = (|name: &str| name.to_owned(), |node: &str| Arc::from(node));
        let expected = [
            EndpointEvent::Removed { node: node("b"), name: name("ep.x"), addr: at(3) },
            EndpointEvent::Removed { node: node("a"), name: name("ep.y"), addr: at(2) },
            EndpointEvent::Changed { node: node("a"), name: name("ep.x"), addr: at(4), before: at(1) },
            EndpointEvent::Added { node: node("a"), name: name("ep.z"), addr: at(5) },
            EndpointEvent::Added { node: node("c"), name: name("ep.x"), addr: at(6) },
        ];
        assert_eq!(after.changes_since(&before, |_| true), expected);
        assert_eq!(after.changes_since(&before, |name| name == "ep.z"), expected[3..4]);
        assert_eq!(after.changes_since(&after, |_| true), []);
        assert_eq!(after.get("c", "ep.x"), Some(at(6)));
        let all: Vec<_> = after.iter().collect();
        assert_eq!(all, [("a", "ep.x", at(4)), ("a", "ep.z", at(5)), ("c", "ep.x", at(6))]);
    }
}
