//! Settings that only a new cluster takes, on a node that comes back to one that is there, on each runtime.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

#[macro_use]
#[path = "support/each_runtime.rs"]
mod each_runtime;

use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use funk_io::discovery::JoinAddress;
use funk_io::{EventsEnd, Runtime};
use funk_proto::id::ShardId;
use funk_proto::{Ownership, Timing, TimingProfile};
use funk_rpc::{Node, NodeBuilder};
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata, Subscriber, span};

const SHARDS: u32 = 12;
/// Time between two looks at what no event tells of.
const LOOK: Duration = Duration::from_millis(10);

/// What was said at WARN.
static WARNED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Log;

struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut words = Words(String::new());
        event.record(&mut words);
        WARNED.lock().unwrap_or_else(PoisonError::into_inner).push(words.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn warned(words: &str) -> usize {
    WARNED.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|line| line.contains(words)).count()
}

/// A number of shards that no other test asks for.
fn asked() -> u32 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    100 + u32::try_from(NEXT.fetch_add(1, Ordering::SeqCst)).unwrap()
}

/// A folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("funk-settings-{}-{}", std::process::id(), asked()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is the operating system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn builder<R: Runtime>(folder: &Folder, number: usize, through: Option<&Node<R>>) -> NodeBuilder<R> {
    let name = format!("n{number}");
    NodeBuilder::new("settings".parse().unwrap())
        .interface(Ipv4Addr::LOCALHOST.into())
        .mdns(false)
        .name(name.parse().unwrap())
        .data_dir(folder.0.join(name))
        .join(through.map(|node| JoinAddress::Address(node.gossip())))
}

/// Waits until the node may serve and the shards are with so many owners.
async fn settled<R: Runtime>(node: &Node<R>, owners: usize) {
    loop {
        let table = node.cluster().routes();
        let names = (0..table.shards()).filter_map(|shard| Some(table.owner(ShardId(shard))?.0.id));
        if names.collect::<std::collections::BTreeSet<_>>().len() == owners && node.readiness().await.is_ok() {
            return;
        }
        R::sleep(LOOK).await;
    }
}

/// Starts a node whose last self may still hold its directory.
async fn start<R: Runtime>(build: impl Fn() -> NodeBuilder<R>) -> Node<R> {
    loop {
        match build().start() {
            Ok(node) => return node,
            Err(_) => R::sleep(LOOK).await,
        }
    }
}

async fn settings_that_a_cluster_does_not_take_are_warned_of<R: Runtime>() {
    let _ = tracing::subscriber::set_global_default(Log);
    for size in [1, 3, 5] {
        let folder = Folder::new();
        let first = builder::<R>(&folder, 0, None).bootstrap(true).shards(SHARDS).start().unwrap();
        let mut nodes = vec![first];
        for number in 1..size {
            nodes.push(builder(&folder, number, Some(&nodes[0])).shards(SHARDS).start().unwrap());
        }
        for node in &nodes {
            settled(node, size).await;
        }
        let last = nodes.pop().unwrap();
        assert!(last.leave().await);
        drop(last);
        let asked = asked();
        let build = || {
            let builder = builder(&folder, size - 1, nodes.first()).bootstrap(size == 1);
            builder.shards(asked).ownership(Ownership::Fenced).timing(Timing::of(TimingProfile::Wan))
        };
        let back = start(build).await;
        settled(&back, size).await;
        let shards = format!("no effect: shards {asked}, where the cluster has {SHARDS}");
        for words in [
            shards.as_str(),
            "no effect: ownership fenced, where the cluster has leased",
            "no effect: lease 1.2s, where the cluster has 150ms to 600ms",
        ] {
            while warned(words) == 0 {
                R::sleep(LOOK).await;
            }
        }
        assert_eq!(back.cluster().routes().shards(), SHARDS);
        assert_eq!(warned(&shards), 1, "once");
        assert_eq!(warned(&format!("shards {SHARDS},")), 0, "who asks for what is there asks in vain of nothing");
    }
}

async fn a_node_with_settings_that_is_dropped_before_it_is_in_a_cluster_stops<R: Runtime>() {
    let folder = Folder::new();
    let node = builder::<R>(&folder, 1, None).shards(asked()).start().unwrap();
    let mut events = node.cluster().events();
    drop(node);
    while events.next().await != Err(EventsEnd::Stopped) {}
}

on_each_runtime! {
    settings_that_a_cluster_does_not_take_are_warned_of
    a_node_with_settings_that_is_dropped_before_it_is_in_a_cluster_stops
}
