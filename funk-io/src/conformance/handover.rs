//! What an owner has of a shard, on its way to the next owner.

use std::time::Duration;

use bytes::Bytes;
use funk_proto::id::ShardId;
use funk_proto::shards::Place;
use futures_lite::future;

use super::{LOOPBACK, node, run};
use crate::runtime::Runtime;
use crate::{Cluster, Options, ShardGuard, Sockets, start};

/// A planned move takes along what the former owner gives, whole and once; what
/// the new owner never took goes on with the next move.
pub fn a_moving_shard_takes_its_state_along<R: Runtime>() {
    run::<R>(async {
        let first = giving::<R>("first", |config| config.bootstrap = true);
        let contact = node::address(&first, "ep.serf").await;
        node::serving(&first).await;
        let second = giving::<R>("second", |config| config.join = vec![contact]);
        let shards = all_of(&second, 30).await;

        let (taken, left) = shards.split_at(shards.len() / 2);
        for &shard in taken {
            let guard = second.guard(shard).expect("it serves");
            assert_eq!(guard.take_state(), Some(state("first", shard)));
            assert_eq!(guard.take_state(), None, "it is given once");
        }
        second.leave().await.expect("it leaves in order");
        all_of(&first, 60).await;
        for (shards, from) in [(taken, "second"), (left, "first")] {
            for &shard in shards {
                let guard = first.guard(shard).expect("it serves");
                assert_eq!(guard.take_state(), Some(state(from, shard)), "{shard} from {from}");
            }
        }
        let kept = (0..60).map(ShardId).find(|shard| !shards.contains(shard)).expect("it kept some");
        assert_eq!(first.guard(kept).expect("it serves").take_state(), None, "it never moved");
    });
}

/// A node that gives `state(name, shard)` of every shard.
fn giving<R: Runtime>(name: &'static str, change: impl FnOnce(&mut funk_proto::NodeConfig)) -> Cluster {
    let mut config = node::config(name);
    node::be_patient(&mut config);
    change(&mut config);
    let sockets = Sockets::any(LOOPBACK).expect("loopback has free ports");
    let options = Options::new(config, sockets).with_handover(move |shard| Some(state(name, shard)));
    start::<R>(options).expect("the node starts")
}

/// Some states are empty, some take several messages.
fn state(name: &str, shard: ShardId) -> Bytes {
    let line = format!("{shard} of {name};");
    line.repeat(shard.0 as usize % 7 * 2_000).into()
}

/// Waits until the node serves so many shards; gives them.
async fn all_of(cluster: &Cluster, count: usize) -> Vec<ShardId> {
    let mut watch = cluster.watch();
    loop {
        let routes = cluster.routes();
        let here = |shard: &ShardId| matches!(routes.place(*shard), Place::Here(_)) && cluster.guard(*shard).is_ok();
        let shards: Vec<ShardId> = (0..routes.shards()).map(ShardId).filter(here).collect();
        if shards.len() == count {
            return shards;
        }
        watch.changed().await;
    }
}

/// A planned move waits for a request that takes longer than the lease.
pub fn a_move_waits_for_a_request_that_outlives_the_lease<R: Runtime>() {
    run::<R>(async {
        let (first, second) = two::<R>(Duration::from_secs(60)).await;
        let guard = any_guard(&second);
        let drained = first.drain(second.name());
        let work = async {
            guard.cancelled().await;
            // Until no lease of the time when the gate closed holds.
            let until = guard.valid_until();
            while second.now() <= until {
                R::sleep(until.since(second.now())).await;
            }
            assert!(guard.is_valid(), "the lease was renewed meanwhile");
            assert!(second.guard(guard.shard()).is_err(), "nobody else comes in");
            assert!(first.guard(guard.shard()).is_err());
            drop(guard);
        };
        let (drained, ()) = future::zip(drained, work).await;
        drained.expect("it is drained");
        all_of(&first, 60).await;
    });
}

/// A request that never ends keeps its shard for the drain timeout and the rest of the lease.
pub fn a_request_without_an_end_does_not_keep_its_shard<R: Runtime>() {
    run::<R>(async {
        let (first, second) = two::<R>(Duration::from_millis(10)).await;
        let guard = any_guard(&second);
        first.drain(second.name()).await.expect("it is drained");
        all_of(&first, 60).await;
        assert!(!guard.is_valid());
    });
}

async fn two<R: Runtime>(drain_timeout: Duration) -> (Cluster, Cluster) {
    let change = |config: &mut funk_proto::NodeConfig| {
        node::be_patient(config);
        config.drain_timeout = drain_timeout;
    };
    let first = node::node::<R>("first", |config| {
        change(config);
        config.bootstrap = true;
    });
    let contact = node::address(&first, "ep.serf").await;
    node::serving(&first).await;
    let second = node::node::<R>("second", |config| {
        change(config);
        config.join = vec![contact];
    });
    all_of(&second, 30).await;
    (first, second)
}

fn any_guard(cluster: &Cluster) -> ShardGuard {
    (0..60).find_map(|shard| cluster.guard(ShardId(shard)).ok()).expect("it serves some")
}
