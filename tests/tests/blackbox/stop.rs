//! Orderly ends.

use std::time::{Duration, Instant};

use funk_tests::blackbox::Tested;
use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use rustix::process::Signal;

/// The promise: an orderly end takes at most this long.
const END_MAX: Duration = Duration::from_secs(3);

/// Waits for a node's end, and checks its code and the promise. A busy machine
/// may be slow to schedule the end itself, hence the allowance.
fn ends_in_order(cluster: &mut DemoCluster, node: usize, since: Instant) -> Tested {
    let ended = cluster.nodes[node].process.wait(GENEROUS)?;
    assert_eq!(ended.code(), Some(0), "{}", cluster.nodes[node].process.tail());
    let took = since.elapsed();
    println!("n{node} ended after {took:?}");
    assert!(took < END_MAX + Duration::from_millis(500), "it took {took:?}\n{}", cluster.nodes[node].process.tail());
    Ok(())
}

#[test]
fn sigterm_ends_a_node_in_order_and_the_others_take_its_shards() -> Tested {
    let mut cluster = DemoCluster::start("term", 3)?;
    for node in [cluster.leader()?, cluster.follower()?] {
        if cluster.nodes[node].process.ended().is_some() {
            continue;
        }
        cluster.nodes[node].process.signal(Signal::TERM);
        ends_in_order(&mut cluster, node, Instant::now())?;
        cluster.converged(GENEROUS)?;
    }
    Ok(())
}

#[test]
fn sigint_ends_a_node_like_sigterm() -> Tested {
    let mut cluster = DemoCluster::start("int", 2)?;
    let node = cluster.follower()?;
    cluster.nodes[node].process.signal(Signal::INT);
    ends_in_order(&mut cluster, node, Instant::now())?;
    cluster.converged(GENEROUS)?;
    Ok(())
}

#[test]
fn all_nodes_at_once_end_in_order() -> Tested {
    for nodes in [1, 3, 5] {
        let mut cluster = DemoCluster::start(&format!("term-all-{nodes}"), nodes)?;
        let since = Instant::now();
        for node in &cluster.nodes {
            node.process.signal(Signal::TERM);
        }
        for node in 0..nodes {
            ends_in_order(&mut cluster, node, since)?;
        }
    }
    Ok(())
}

#[test]
fn a_second_signal_ends_the_node_at_once() -> Tested {
    let mut cluster = DemoCluster::start("twice", 3)?;
    // Without the other two, the orderly way takes as long as it may.
    for node in [1, 2] {
        cluster.nodes[node].process.signal(Signal::STOP);
    }
    let node = &mut cluster.nodes[0].process;
    node.signal(Signal::TERM);
    // Two equal signals at one moment count as one, so the second comes when the first was seen.
    std::thread::sleep(Duration::from_millis(100));
    let since = Instant::now();
    node.signal(Signal::TERM);
    node.wait(GENEROUS)?;
    let took = since.elapsed();
    assert!(took < Duration::from_secs(1), "at once, not after {took:?}");
    Ok(())
}
