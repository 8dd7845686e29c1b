//! Many nodes come at one moment.

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};

#[test]
fn ten_nodes_that_start_at_one_moment_beside_a_bootstrap_converge_to_one_map() {
    let mut cluster = DemoCluster::empty("ten", &[]).unwrap();
    cluster.bootstrap().unwrap();
    for _ in 0..10 {
        cluster.join().unwrap();
    }
    let all = cluster.converged(GENEROUS).unwrap();
    assert_eq!(all.len(), 11);
    let votes = |status: &funk_tests::blackbox::status::Status| {
        status.members.values().filter(|member| member.raft == "Voter").count()
    };
    assert!(all.iter().all(|status| votes(status) % 2 == 1), "{}", all[0].brief());
}

#[test]
fn a_node_joins_through_any_member() {
    let mut cluster = DemoCluster::start("join-any", 2).unwrap();
    let second = cluster.nodes[1].serf.to_string();
    cluster.join_at(&[&second]).unwrap();
    cluster.converged(GENEROUS).unwrap();
}
