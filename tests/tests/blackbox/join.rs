//! Many nodes come at one moment.

use funk_tests::blackbox::Tested;
use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};

#[test]
fn ten_nodes_that_start_at_one_moment_beside_a_bootstrap_converge_to_one_map() -> Tested {
    let mut cluster = DemoCluster::empty("ten", &[])?;
    cluster.bootstrap()?;
    for _ in 0..10 {
        cluster.join()?;
    }
    let all = cluster.converged(GENEROUS)?;
    assert_eq!(all.len(), 11);
    cluster.all_voters(GENEROUS)?;
    Ok(())
}

#[test]
fn a_node_joins_through_any_member() -> Tested {
    let mut cluster = DemoCluster::start("join-any", 2)?;
    let second = cluster.nodes[1].serf.to_string();
    cluster.join_at(&[&second])?;
    cluster.converged(GENEROUS)?;
    Ok(())
}
