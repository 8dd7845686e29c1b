//! A node of its own in this process, alone in its cluster.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use funk_io::Runtime;
use funk_rpc::{Node, NodeBuilder};
use funk_smol::Smol;

/// Its name.
pub(super) const NAME: &str = "n1";
/// Shards of its cluster.
pub(super) const SHARDS: u32 = 64;
/// Time for it to be ready, on the busiest machine.
const READY_MAX: Duration = Duration::from_secs(60);

/// A node that serves all shards.
pub(super) fn node() -> Node<Smol> {
    let builder = NodeBuilder::new("fuzz".parse().expect("legal"))
        .interface(Ipv4Addr::LOCALHOST.into())
        .name(NAME.parse().expect("legal"))
        .mdns(false)
        .bootstrap(true)
        .shards(SHARDS);
    let node: Node<Smol> = builder.start().expect("loopback has room");
    let until = Instant::now() + READY_MAX;
    let ready = Smol::block_on(async {
        while node.readiness().await.is_err() {
            assert!(Instant::now() < until, "a node alone does not become ready");
            Smol::sleep(Duration::from_millis(5)).await;
        }
    });
    ready.expect("smol needs nothing");
    node
}
