//! Nodes with data directories, killed and started again.

use std::time::Duration;

use funk_tests::blackbox::Tested;
use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS, demo_command};
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::restart::{durable_cluster, resumed_clusters, round};
use rustix::process::Signal;

#[test]
fn all_nodes_killed_at_once_are_the_same_cluster_again() -> Tested {
    let mut cluster = durable_cluster("restart-all", 3)?;
    for _ in 0..5 {
        println!("all serve {:?} after the restart", round(&mut cluster)?);
    }
    let ids = resumed_clusters(&cluster)?;
    assert_eq!(ids.len(), 1, "{ids:?}");
    Ok(())
}

#[test]
fn a_sole_node_restarts_alone() -> Tested {
    let mut cluster = durable_cluster("restart-one", 1)?;
    println!("it serves {:?} after the restart", round(&mut cluster)?);
    assert_eq!(resumed_clusters(&cluster)?.len(), 1);
    Ok(())
}

#[test]
fn a_killed_node_is_the_same_member_when_it_is_back() -> Tested {
    let mut cluster = durable_cluster("restart-member", 3)?;
    for node in [cluster.follower()?, cluster.leader()?] {
        cluster.nodes[node].process.signal(Signal::KILL);
        cluster.nodes[node].process.wait(GENEROUS)?;
        cluster.converged(GENEROUS)?;
        cluster.start_again(node)?;
        let all = cluster.converged(GENEROUS)?;
        assert_eq!(all[0].members.len(), 3, "{}", all[0].brief());
        cluster.all_voters(GENEROUS)?;
    }
    Ok(())
}

#[test]
fn a_data_directory_serves_one_process_and_one_node() -> Tested {
    let mut cluster = durable_cluster("restart-lock", 1)?;
    let second = |cluster: &DemoCluster, id: &str| -> Result<Process, String> {
        let mut command = demo_command(cluster.name())?;
        command.args(["--node-id", id, "--data-dir"]).arg(cluster.data_dir(0));
        Process::start("second", command, cluster.dir())
    };
    let mut locked = second(&cluster, "n0")?;
    assert_eq!(locked.wait(GENEROUS)?.code(), Some(1));
    assert!(locked.tail().contains("another process"), "{}", locked.tail());
    cluster.nodes[0].process.signal(Signal::KILL);
    cluster.nodes[0].process.wait(Duration::from_secs(5))?;
    let mut other = second(&cluster, "other")?;
    assert_eq!(other.wait(GENEROUS)?.code(), Some(1));
    assert!(other.tail().contains("belongs to node n0"), "{}", other.tail());
    Ok(())
}

#[test]
fn a_stopped_node_keeps_its_place_and_all_may_stop_at_once() -> Tested {
    let mut cluster = durable_cluster("restart-stop", 3)?;
    let stop = |cluster: &mut DemoCluster, node: usize| -> Tested {
        let ended = cluster.nodes[node].process.wait(GENEROUS)?;
        assert_eq!(ended.code(), Some(0), "{}", cluster.nodes[node].process.tail());
        Ok(())
    };
    for node in [cluster.leader()?, cluster.follower()?] {
        cluster.nodes[node].process.signal(Signal::TERM);
        stop(&mut cluster, node)?;
        let all = cluster.converged(GENEROUS)?;
        let member = all[0].members.get(&format!("n{node}")).ok_or("it is no member any more")?;
        assert_eq!((member.raft.as_str(), member.shards), ("Voter", 0), "{}", all[0].brief());
        cluster.start_again(node)?;
        cluster.converged(GENEROUS)?;
    }
    for node in &cluster.nodes {
        node.process.signal(Signal::TERM);
    }
    for node in 0..3 {
        stop(&mut cluster, node)?;
        cluster.start_again(node)?;
    }
    cluster.converged(GENEROUS)?;
    assert_eq!(resumed_clusters(&cluster)?.len(), 1);
    Ok(())
}
