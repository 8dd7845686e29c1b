//! However a node ends, its peers are told, and only when nobody is inside any more.

use std::net::UdpSocket;
use std::time::Duration;

use funk_proto::id::ShardId;
use futures_lite::future;

use super::fused::{Fused, TRIGGER};
use super::node::{address, node, serving, serving_some};
use super::{LOOPBACK, run};
use crate::runtime::Runtime;
use crate::{Cluster, ShardGuard};

/// A node, and another of runtime `Q` that has joined it and serves.
async fn pair<R: Runtime, Q: Runtime>() -> (Cluster, Cluster) {
    let first = node::<R>("first", |config| config.bootstrap = true);
    serving(&first).await;
    let gossip = address(&first, "ep.serf").await;
    let second = node::<Q>("second", |config| config.join = vec![gossip]);
    serving_some(&second).await;
    (first, second)
}

async fn goodbyes(cluster: &Cluster) -> u64 {
    cluster.status().await.expect("it runs").counters.goodbyes
}

async fn until_told<R: Runtime>(cluster: &Cluster) {
    while goodbyes(cluster).await == 0 {
        R::sleep(Duration::from_millis(5)).await;
    }
}

fn any_guard(cluster: &Cluster) -> ShardGuard {
    let mut shards = (0..cluster.routes().shards()).map(ShardId);
    shards.find_map(|shard| cluster.guard(shard).ok()).expect("it serves some")
}

/// A handle that is dropped, and a driver that panics, tell the peers.
pub fn whoever_stops_says_goodbye<R: Runtime>() {
    run::<R>(async {
        let (first, second) = pair::<R, R>().await;
        drop(second);
        until_told::<R>(&first).await;

        let (first, second) = pair::<R, Fused<R>>().await;
        let liveness = address(&second, "ep.liveness").await;
        let socket = UdpSocket::bind((LOOPBACK, 0)).expect("loopback has a free port");
        let trigger = async {
            loop {
                socket.send_to(TRIGGER, liveness).expect("loopback takes it");
                R::sleep(Duration::from_millis(3)).await;
            }
        };
        future::or(until_told::<R>(&first), trigger).await;
    });
}

/// A panic of any thread says goodbye, with the gate closed.
pub fn a_panic_elsewhere_says_goodbye<R: Runtime>() {
    run::<R>(async {
        let (first, second) = pair::<R, R>().await;
        let guard = any_guard(&second);
        let shard = guard.shard();
        second.last_words().say_on_panic();
        let panicked = std::thread::spawn(move || {
            let _inside = guard;
            panic!("a handler failed")
        });
        assert!(panicked.join().is_err());
        assert!(second.guard(shard).is_err());
        until_told::<R>(&first).await;
    });
}

/// While a request is inside, under a lease that holds, nothing is said.
pub fn nobody_says_goodbye_while_a_guard_is_valid<R: Runtime>() {
    run::<R>(async {
        let (_first, second) = pair::<R, R>().await;
        let guard = any_guard(&second);
        // The right as its holder knew it last, on the node's own clock.
        let until = guard.valid_until();
        assert!(second.last_words().say(), "the lease runs out");
        assert!(!guard.is_valid());
        let now = second.now();
        assert!(now >= until, "said by {now}, valid until {until}");
    });
}
