//! Ends that a node did not choose: its disk fails, or it is killed while a
//! guard watches. The others hear of both, and need not miss it first.

use std::time::Duration;

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::{Tested, wait_for};
use rustix::process::{Resource, Rlimit, Signal, prlimit};

/// Files of a node whose disk is full may not grow past this: more than it
/// says on standard error, less than its log has by then.
const FULL_BYTES: u64 = 2_000;

/// Waits until a node has heard so many goodbyes.
fn heard(cluster: &mut DemoCluster, node: usize, goodbyes: u64) -> Result<(), String> {
    wait_for("a goodbye to be heard", GENEROUS, || {
        let page = cluster.get(node, "/metrics")?.text();
        let line = page.lines().find(|line| line.starts_with("funk_goodbyes_total"));
        match line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok()) {
            Some(value) if value >= goodbyes => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
}

#[test]
fn a_node_whose_disk_is_full_says_so_says_goodbye_and_ends() -> Tested {
    let mut cluster = DemoCluster::empty("full", &["--log-level", "error"])?;
    cluster.set_durable();
    cluster.fill(3)?;
    let victim = cluster.leader()?;
    let others: Vec<_> = cluster.live().into_iter().filter(|&node| node != victim).collect();
    let full = Rlimit { current: Some(FULL_BYTES), maximum: None };
    prlimit(Some(cluster.nodes[victim].process.rustix_pid()), Resource::Fsize, full)
        .map_err(|error| error.to_string())?;
    // A member more is an entry more, for this disk too.
    let joins: Vec<_> = others.iter().map(|&node| cluster.nodes[node].serf.to_string()).collect();
    cluster.join_at(&joins.iter().map(String::as_str).collect::<Vec<_>>())?;
    let ended = cluster.nodes[victim].process.wait(GENEROUS)?;
    assert_eq!(ended.code(), Some(1));
    let said = std::fs::read_to_string(cluster.nodes[victim].process.log())?;
    let directory = cluster.data_dir(victim);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(directory.to_str().expect("text")) && said.contains("File too large"), "{said}");
    for node in others {
        heard(&mut cluster, node, 1)?;
    }
    cluster.converged(GENEROUS)?;
    Ok(())
}

#[test]
fn a_guarded_node_that_is_killed_is_told_of_and_its_guard_ends_like_it() -> Tested {
    let mut cluster = DemoCluster::start_with("guarded", 5, &["--guard"])?;
    for victim in [cluster.leader()?, cluster.follower()?] {
        if cluster.nodes[victim].process.ended().is_some() {
            continue;
        }
        cluster.nodes[victim].process.signal_child(Signal::KILL)?;
        let ended = cluster.nodes[victim].process.wait(GENEROUS)?;
        assert_eq!(ended.code(), Some(128 + 9));
        let survivor = cluster.live()[0];
        heard(&mut cluster, survivor, 1)?;
        cluster.converged(GENEROUS)?;
    }
    Ok(())
}

#[test]
fn a_guarded_node_leaves_in_order_when_its_guard_is_told_to_stop_or_is_killed() -> Tested {
    for signal in [Signal::TERM, Signal::KILL] {
        let mut cluster = DemoCluster::start_with("guard-stops", 3, &["--guard"])?;
        let node = cluster.follower()?;
        let page = cluster.page(node)?;
        cluster.nodes[node].process.signal(signal);
        let ended = cluster.nodes[node].process.wait(GENEROUS)?;
        assert_eq!(ended.code(), (signal == Signal::TERM).then_some(0));
        wait_for("the node to end", GENEROUS, || match std::net::TcpStream::connect(page) {
            Ok(_) => Err("it listens".to_owned()),
            Err(_) => Ok(()),
        })?;
        cluster.converged(Duration::from_secs(30))?;
    }
    Ok(())
}
