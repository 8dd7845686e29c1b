//! Streams that stop in the middle of the network: nothing comes through on
//! them any more, nothing says so, and datagrams and new streams go on.

use funk_tests::blackbox::Tested;
use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::namespaces::{is_root, skip, with_tools};
use rustix::process::Signal;

const TOOLS: [&str; 5] = ["ip", "unshare", "nsenter", "nft", "ss"];

/// Lets nothing through any more on the streams that a node has at present, as a firewall does that forgot
/// them. How many there were.
fn freeze_streams(cluster: &DemoCluster, node: usize) -> Result<usize, String> {
    for words in ["add table inet frozen", "add chain inet frozen in { type filter hook input priority 0 ; }"] {
        cluster.run_on(node, &["nft", words])?;
    }
    let listed = cluster.run_on(node, &["ss", "-Htn", "state", "established"])?;
    let port = |address: &str| address.rsplit_once(':').map(|(_, port)| port.to_owned());
    let streams = listed.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(2);
        Some((port(words.next()?)?, port(words.next()?)?))
    });
    let streams: Vec<_> = streams.collect();
    for (here, there) in &streams {
        cluster.run_on(node, &["nft", &format!("add rule inet frozen in tcp sport {there} tcp dport {here} drop")])?;
    }
    Ok(streams.len())
}

#[test]
fn a_stream_on_which_nothing_comes_through_is_replaced() -> Tested {
    if !is_root() {
        return skip("frozen streams", "it takes root");
    }
    with_tools("frozen streams", &TOOLS, || {
        let mut cluster = DemoCluster::start_on_hosts("frozen-streams", 3, &[])?;
        let leader = cluster.leader()?;
        let (frozen, leaver) = ((leader + 1) % 3, (leader + 2) % 3);
        assert!(freeze_streams(&cluster, frozen)? > 0, "it has no streams");
        // What follows cannot be known without a stream.
        cluster.nodes[leaver].process.signal(Signal::TERM);
        cluster.nodes[leaver].process.wait(GENEROUS)?;
        cluster.converged(GENEROUS)?;
        Ok(())
    })
}
