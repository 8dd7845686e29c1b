//! Clusters whose nodes speak QUIC.

use std::time::Duration;

use funk_tests::blackbox::Tested;
use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS, wait_for_log};
use funk_tests::blackbox::load::Load;
use rustix::process::Signal;

/// Requests a second beside what happens.
const RATE: u32 = 200;

fn start(label: &str, nodes: usize) -> Result<DemoCluster, String> {
    DemoCluster::start_with_tls(label, nodes, &["--transport", "quic"])
}

#[test]
fn killing_the_leader_and_a_new_member_lose_no_request() -> Tested {
    let mut cluster = start("quic-kill", 3)?;
    let load = Load::start_at(&mut cluster, RATE, Duration::from_secs(6))?;
    load.running(&mut cluster)?;
    let leader = cluster.leader()?;
    cluster.nodes[leader].process.signal(Signal::KILL);
    cluster.nodes[leader].process.wait(GENEROUS)?;
    cluster.converged(GENEROUS)?;
    cluster.join()?;
    cluster.converged(GENEROUS)?;
    let report = load.finish()?;
    assert!(report.nodes >= 3, "{report}");
    Ok(())
}

#[test]
fn durable_nodes_come_back_over_quic() -> Tested {
    let mut cluster = DemoCluster::empty("quic-restart", &["--http-tls=false", "--transport", "quic"])?;
    cluster.certify()?;
    cluster.set_durable();
    cluster.fill(3)?;
    cluster.all_voters(GENEROUS)?;
    let all = cluster.live();
    for &node in &all {
        cluster.nodes[node].process.signal(Signal::KILL);
        cluster.nodes[node].process.wait(GENEROUS)?;
    }
    for &node in &all {
        cluster.start_again(node)?;
    }
    cluster.converged(GENEROUS)?;
    Ok(())
}

#[test]
fn one_cluster_runs_on_three_runtimes() -> Tested {
    let mut cluster = DemoCluster::empty("quic-runtimes", &[])?;
    cluster.certify()?;
    for runtime in ["tokio", "smol", "async-std"] {
        cluster.set_extra(&["--http-tls=false", "--transport", "quic", "--runtime", runtime]);
        if cluster.nodes.is_empty() {
            cluster.bootstrap()?
        } else {
            cluster.join()?
        };
    }
    cluster.converged(GENEROUS)?;
    let load = Load::start_at(&mut cluster, RATE, Duration::from_secs(4))?;
    load.running(&mut cluster)?;
    let leader = cluster.leader()?;
    cluster.nodes[leader].process.signal(Signal::KILL);
    cluster.nodes[leader].process.wait(GENEROUS)?;
    cluster.converged(GENEROUS)?;
    load.finish()?;
    Ok(())
}

#[test]
fn a_node_with_another_transport_is_told_so_and_stays_outside() -> Tested {
    let mut cluster = start("quic-other", 1)?;
    cluster.set_extra(&["--http-tls=false"]);
    let other = cluster.join()?;
    for node in [0, other] {
        let log = cluster.nodes[node].process.log().to_owned();
        wait_for_log(&log, "start all nodes with the same --transport")?;
    }
    assert_eq!(cluster.status(0)?.raft_members().len(), 1);
    Ok(())
}
