//! Which tags are gossiped when not all of them fit.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Gossip, GossipOutput};
use crate::limits::TAG_BYTES_MAX;
use crate::wire::gossip::encode_tags;

/// Endpoints of funk itself; other endpoints are the service's and go first,
/// because `ep.cluster` can hand them out instead.
const CORE_ENDPOINTS: [&str; 6] =
    ["ep.serf", "ep.raft", "ep.clusterfunk.management", "ep.cluster", "ep.liveness", "ep.monitoring"];
/// Tags that go next, in this order: nobody needs them to find or to join the cluster.
const LESS_NEEDED: [&str; 3] = ["ep.monitoring", "meta.serviceName", "ep.clusterfunk.management"];
/// Tags that go last: without them a node is no candidate member.
const NEEDED: [&str; 5] = ["ep.serf", "ep.raft", "funk.id", "funk.boot", "meta.clusterName"];

/// Tags that fit a node record, encoded and plain, and the names of those that did not.
#[derive(Debug)]
pub(super) struct Fitted {
    pub tags: BTreeMap<String, String>,
    pub meta: Bytes,
    pub dropped: Vec<String>,
}

/// Drops tags until the others fit: the service's endpoints from the last name
/// on, then whatever can be missed most.
pub(super) fn fit(all: &BTreeMap<String, String>) -> Fitted {
    let mut tags = all.clone();
    let mut dropped = Vec::new();
    loop {
        let meta = encode_tags(&tags);
        if meta.len() <= TAG_BYTES_MAX {
            return Fitted { tags, meta, dropped };
        }
        let name = next_to_drop(&tags).expect("no tags at all fit");
        tags.remove(&name);
        dropped.push(name);
    }
}

fn next_to_drop(tags: &BTreeMap<String, String>) -> Option<String> {
    let service = |name: &&String| name.starts_with("ep.") && !CORE_ENDPOINTS.contains(&name.as_str());
    let needed = |name: &&String| NEEDED.contains(&name.as_str());
    let less_needed = || LESS_NEEDED.iter().find(|name| tags.contains_key(**name)).map(|name| (*name).to_owned());
    let mut names = tags.keys().rev();
    tags.keys()
        .rev()
        .find(service)
        .cloned()
        .or_else(less_needed)
        .or_else(|| tags.keys().rev().find(|name| !needed(name)).cloned())
        .or_else(|| names.next().cloned())
}

impl Gossip {
    pub(super) fn report_dropped_tags(&mut self, dropped: Vec<String>) {
        if dropped != self.tags_dropped {
            self.tags_dropped.clone_from(&dropped);
            if !dropped.is_empty() {
                self.outputs.push_back(GossipOutput::TagsDropped(dropped));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(names: &[&str], bytes: usize) -> BTreeMap<String, String> {
        names.iter().map(|name| ((*name).to_owned(), "x".repeat(bytes))).collect()
    }

    #[test]
    fn service_endpoints_go_first_and_from_the_last_name_on() {
        let all = tags(&["ep.serf", "ep.raft", "ep.monitoring", "ep.a", "ep.b", "ep.c", "funk.id"], 80);
        let fitted = fit(&all);
        assert_eq!(fitted.dropped, ["ep.c", "ep.b"]);
        assert!(fitted.meta.len() <= TAG_BYTES_MAX);
        assert_eq!(encode_tags(&fitted.tags), fitted.meta);
        assert!(fit(&tags(&["ep.a"], 10)).dropped.is_empty());
    }

    #[test]
    fn a_single_oversized_tag_does_not_hang_or_pass() {
        assert_eq!(fit(&tags(&["ep.raft"], 600)).dropped, ["ep.raft"]);
        assert_eq!(fit(&tags(&["ep.raft", "zone", "ep.monitoring"], 170)).dropped, ["ep.monitoring"]);
    }
}
