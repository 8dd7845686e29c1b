//! Three nodes through the real driver.

use bytes::Bytes;
use funk_proto::id::{LogIndex, ShardId};
use funk_proto::shards::Place;
use funk_proto::status::NodeState;
use funk_proto::{Event as NodeEvent, Status};
use futures_lite::future;

use super::{node, run};
use crate::runtime::Runtime;
use crate::{Cluster, Event, Events, EventsEnd};

/// A bootstrap and two joiners share the shards and commit one log; when one
/// stops without leaving, the others serve its shards.
pub fn three_nodes_agree_and_outlive_one<R: Runtime>() {
    run::<R>(async {
        let first = node::node::<R>("first", |config| config.bootstrap = true);
        let contact = node::address(&first, "ep.serf").await;
        let join = |name| node::node::<R>(name, |config| config.join = vec![contact]);
        let mut nodes = vec![first, join("second"), join("third")];
        let mut events: Vec<Events> = nodes.iter().map(Cluster::events).collect();
        until_shared(&nodes, &mut events).await;
        propose_from_each(&nodes).await;
        read_after_write(&nodes).await;

        nodes.pop();
        while events[2].next().await != Err(EventsEnd::Stopped) {}
        events.pop();
        until_shared(&nodes, &mut events).await;
        propose_from_each(&nodes).await;
        for cluster in nodes {
            drop(cluster);
        }
    });
}

/// Waits until all nodes are operational on one map, and each shard is served by one of them.
async fn until_shared(nodes: &[Cluster], events: &mut [Events]) {
    loop {
        if is_shared(nodes).await {
            return;
        }
        next_of_any(events).await;
    }
}

pub(super) async fn is_shared(nodes: &[Cluster]) -> bool {
    let mut statuses: Vec<Status> = Vec::new();
    for cluster in nodes {
        statuses.push(cluster.status().await.expect("it runs"));
    }
    let one_map = statuses.iter().all(|s| s.state == NodeState::Operational && s.epoch == statuses[0].epoch);
    let all = statuses.iter().map(|status| status.shards_owned).sum::<u32>() == statuses[0].shards_total;
    one_map && all && statuses.iter().all(|status| status.shards_owned > 0) && each_shard_has_one_server(nodes)
}

fn each_shard_has_one_server(nodes: &[Cluster]) -> bool {
    let shards = nodes[0].routes().shards();
    let serves = |cluster: &Cluster, shard| {
        let guard = cluster.guard(shard).ok();
        guard.is_some_and(|guard| cluster.routes().place(shard) == Place::Here(guard.epoch()))
    };
    (0..shards).map(ShardId).all(|shard| nodes.iter().filter(|cluster| serves(cluster, shard)).count() == 1)
}

/// What each node proposes, all nodes see, at the same index.
pub(super) async fn propose_from_each(nodes: &[Cluster]) {
    let mut events: Vec<Events> = nodes.iter().map(Cluster::events).collect();
    for cluster in nodes {
        let bytes = Bytes::from(format!("from {}", cluster.name()));
        let index = cluster.propose(bytes.clone()).await.expect("there is a leader");
        for events in &mut events {
            assert_eq!(committed(events).await, (index, bytes.clone()));
        }
    }
}

/// Who waits at a barrier has seen what was written before, through whatever node.
async fn read_after_write(nodes: &[Cluster]) {
    for (writer, reader) in nodes.iter().zip(nodes.iter().cycle().skip(1)) {
        let mut events = reader.events();
        let bytes = Bytes::from(format!("written through {}", writer.name()));
        let written = writer.propose(bytes.clone()).await.expect("there is a leader");
        let seen = reader.barrier().await.expect("there is a leader");
        assert!(seen > written);
        // Earlier ones may come first; all of them are there already.
        while future::poll_once(committed(&mut events)).await.expect("it is there already") != (written, bytes.clone())
        {
        }
    }
}

async fn committed(events: &mut Events) -> (LogIndex, Bytes) {
    loop {
        if let Event::Node(NodeEvent::Committed { index, bytes }) = events.next().await.expect("it runs") {
            return (index, bytes);
        }
    }
}

/// Waits for an event of any node.
async fn next_of_any(events: &mut [Events]) {
    let Some((first, others)) = events.split_first_mut() else { return std::future::pending().await };
    let next = async {
        let _ = first.next().await;
    };
    future::or(next, Box::pin(next_of_any(others))).await;
}
