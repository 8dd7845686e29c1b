//! Route tables as messages: whole, and what changed between two.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::limits::{CLUSTER_MESSAGE_MEMBERS_MAX, CLUSTER_MESSAGE_RANGES_MAX};
use funk_proto::id::{ClusterId, ClusterName, ShardId};
use funk_proto::shards::{Place, RouteNode, RouteTable};

use crate::pb::cluster as pb;

/// What one shard's look to a watcher consists of.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Look<'a> {
    owner: &'a str,
    epoch: u64,
    moving: bool,
}

fn look(table: &RouteTable, shard: ShardId) -> Look<'_> {
    match table.owner(shard) {
        None => Look { owner: "", epoch: 0, moving: false },
        Some((node, epoch)) => {
            let moving = table.place(shard) == Place::Pending;
            Look { owner: node.name.as_str(), epoch: epoch.0, moving }
        }
    }
}

/// The wanted shards, rows of equal ones as one.
fn ranges(table: &RouteTable, wanted: impl Fn(ShardId, Look<'_>) -> bool) -> Vec<pb::ShardRange> {
    let mut ranges: Vec<(u32, u32, Look<'_>)> = Vec::new();
    for number in 0..table.shards() {
        let look = look(table, ShardId(number));
        if !wanted(ShardId(number), look) {
            continue;
        }
        match ranges.last_mut() {
            Some((_, last, before)) if *last + 1 == number && *before == look => *last = number,
            _ => ranges.push((number, number, look)),
        }
    }
    let range = |(first, last, look): (u32, u32, Look<'_>)| pb::ShardRange {
        first,
        last,
        owner: look.owner.into(),
        epoch: look.epoch,
        moving: look.moving,
    };
    ranges.into_iter().map(range).collect()
}

fn member(node: &RouteNode) -> pb::Member {
    let text = |(name, address): (&String, &SocketAddr)| (name.clone(), address.to_string());
    pb::Member {
        node_id: node.name.to_string(),
        up: node.up,
        endpoints: node.endpoints.iter().map(text).collect(),
        boot: node.boot.to_string(),
        leaving: node.leaving,
    }
}

/// The nodes by name. A former boot may be named beside the present one, which stands for both.
fn nodes(table: &RouteTable) -> BTreeMap<&str, &RouteNode> {
    let mut nodes: BTreeMap<&str, &RouteNode> = BTreeMap::new();
    for node in table.nodes() {
        let shown = nodes.entry(node.name.as_str()).or_insert(node);
        if node.up {
            *shown = node;
        }
    }
    nodes
}

/// The whole snapshot.
pub(super) fn whole(table: &RouteTable, name: &ClusterName, id: Option<ClusterId>) -> Vec<pb::WatchResponse> {
    let mut messages = split(pb::WatchResponse {
        full: true,
        epoch: table.epoch().0,
        shards: ranges(table, |_, _| true),
        members: nodes(table).into_values().map(member).collect(),
        ..Default::default()
    });
    for message in &mut messages {
        message.cluster_name = name.to_string();
        message.cluster_id = id.map(|id| id.to_string()).unwrap_or_default();
        message.shard_count = table.shards();
    }
    messages
}

/// What leads from one snapshot to the next; nothing if a watcher sees no difference.
pub(super) fn change(before: &RouteTable, after: &RouteTable) -> Vec<pb::WatchResponse> {
    let (old, new) = (nodes(before), nodes(after));
    let same = |node: &RouteNode| {
        let look = |node: &RouteNode| (node.up, node.boot, node.leaving, node.endpoints.clone());
        old.get(node.name.as_str()).is_some_and(|old| look(old) == look(node))
    };
    let change = pb::WatchResponse {
        epoch: after.epoch().0,
        previous_epoch: before.epoch().0,
        shards: ranges(after, |shard, now| look(before, shard) != now),
        members: new.values().filter(|node| !same(node)).map(|node| member(node)).collect(),
        removed: old.keys().filter(|name| !new.contains_key(*name)).map(ToString::to_string).collect(),
        ..Default::default()
    };
    let nothing = change.shards.is_empty() && change.members.is_empty() && change.removed.is_empty();
    if nothing && change.epoch == change.previous_epoch { Vec::new() } else { split(change) }
}

/// The same in messages of bounded size, `more` in all but the last.
fn split(whole: pb::WatchResponse) -> Vec<pb::WatchResponse> {
    let (mut shards, mut members) = (whole.shards.into_iter(), whole.members.into_iter());
    let mut removed = whole.removed;
    let mut messages = Vec::new();
    loop {
        let part = pb::WatchResponse {
            full: whole.full,
            epoch: whole.epoch,
            previous_epoch: whole.previous_epoch,
            more: true,
            shards: shards.by_ref().take(CLUSTER_MESSAGE_RANGES_MAX).collect(),
            members: members.by_ref().take(CLUSTER_MESSAGE_MEMBERS_MAX).collect(),
            removed: std::mem::take(&mut removed),
            ..Default::default()
        };
        messages.push(part);
        if shards.len() == 0 && members.len() == 0 {
            break;
        }
    }
    if let Some(last) = messages.last_mut() {
        last.more = false;
    }
    messages
}

#[cfg(test)]
mod tests;
