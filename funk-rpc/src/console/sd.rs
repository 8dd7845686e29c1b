//! Where Prometheus finds the metrics of every node, for its discovery by HTTP (`http_sd_configs`).

use std::collections::BTreeSet;
use std::net::SocketAddr;

use funk_proto::id::ClusterName;
use funk_proto::status::{GossipStatus, MemberStatus};
use serde_json::{Value, json};

/// The endpoint that is listed.
const METRICS: &str = "ep.metrics";

/// A node that shows metrics.
#[derive(Clone, Copy, Debug)]
struct Target<'a> {
    node: &'a str,
    gossip: GossipStatus,
    address: SocketAddr,
}

/// The nodes among `members` that show metrics, a group for each: `[{"targets": ["IP:PORT"], "labels": {...}}]`. The
/// labels are gone after relabelling, as Prometheus treats all that begin so.
pub(super) fn groups(cluster: &ClusterName, members: &[MemberStatus], is_https: bool) -> Value {
    let shown = members.iter().filter_map(|member| {
        let address = *member.endpoints.get(METRICS)?;
        Some(Target { node: &member.name, gossip: member.gossip, address })
    });
    let group = |target: &Target<'_>| {
        let mut labels = json!({ "__meta_funk_cluster": cluster.as_str(), "__meta_funk_node": target.node });
        if is_https {
            labels["__scheme__"] = "https".into();
        }
        json!({ "targets": [target.address.to_string()], "labels": labels })
    };
    listed(shown.collect()).iter().map(group).collect()
}

/// What Prometheus must look at. A node that failed is missed until it is removed, one that left in order is not. Where
/// a node has come back under another name, it is the live one.
fn listed(mut targets: Vec<Target<'_>>) -> Vec<Target<'_>> {
    targets.retain(|target| target.gossip != GossipStatus::Left);
    targets.sort_by_key(|target| target.gossip != GossipStatus::Alive);
    let mut seen = BTreeSet::new();
    targets.retain(|target| seen.insert(target.address));
    targets.sort_by_key(|target| target.node);
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(node: &'static str, gossip: GossipStatus, port: u16) -> Target<'static> {
        Target { node, gossip, address: ([10, 0, 0, 1], port).into() }
    }

    fn names(targets: &[Target<'static>]) -> Vec<&'static str> {
        listed(targets.to_vec()).iter().map(|target| target.node).collect()
    }

    #[test]
    fn failed_nodes_are_missed_and_those_that_left_are_not() {
        let targets = [
            target("d", GossipStatus::None, 4),
            target("c", GossipStatus::Left, 3),
            target("b", GossipStatus::Failed, 2),
            target("a", GossipStatus::Alive, 1),
            target("e", GossipStatus::Leaving, 5),
        ];
        assert_eq!(names(&targets), ["a", "b", "d", "e"]);
    }

    #[test]
    fn an_address_is_listed_once_for_the_node_that_lives_there() {
        let (dead, live) = (target("a", GossipStatus::Failed, 1), target("b", GossipStatus::Alive, 1));
        assert_eq!(names(&[dead, live]), ["b"]);
        assert_eq!(names(&[live, dead]), ["b"]);
    }

    #[test]
    fn nobody_is_an_empty_list() {
        let groups = groups(&"c".parse().unwrap(), &[], true);
        assert_eq!(groups, json!([]));
    }
}
