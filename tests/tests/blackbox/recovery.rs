//! The loss of a majority, for good: a survivor goes on alone, others join anew.

use std::process::{Command, Output};

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::load::Load;
use funk_tests::blackbox::restart::durable_cluster;
use funk_tests::blackbox::{Tested, program, wait_for};
use rustix::process::Signal;
use serde_json::Value;

fn ctrlc(cluster: &DemoCluster, node: usize, arguments: &[&str]) -> Result<Output, String> {
    let join = cluster.nodes[node].serf.to_string();
    let mut command = Command::new(program("ctrlc")?);
    command.env_clear().args(cluster.caller("operator")?).args(arguments).args([
        "-n",
        cluster.name(),
        "--join",
        &join,
        "--timeout",
        "10s",
    ]);
    command.output().map_err(|error| error.to_string())
}

fn kill(cluster: &mut DemoCluster, nodes: &[usize]) -> Tested {
    nodes.iter().for_each(|&node| cluster.nodes[node].process.signal(Signal::KILL));
    for &node in nodes {
        cluster.nodes[node].process.wait(GENEROUS)?;
    }
    Ok(())
}

fn generation(cluster: &mut DemoCluster, node: usize) -> Result<u64, String> {
    let status: Value =
        serde_json::from_str(&cluster.get(node, "/api/v1/status")?.text()).map_err(|error| error.to_string())?;
    status["funk_generation"].as_u64().ok_or_else(|| format!("no generation in {status}"))
}

/// Starts a node that was killed with an empty data directory; it joins through `through`.
fn start_anew(cluster: &mut DemoCluster, node: usize, through: usize) -> Tested {
    std::fs::remove_dir_all(cluster.data_dir(node)).map_err(|error| error.to_string())?;
    let join = cluster.nodes[through].serf.to_string();
    cluster.set_extra(&["--join", &join]);
    cluster.start_again(node)?;
    Ok(())
}

#[test]
fn a_survivor_goes_on_alone_and_the_former_generation_is_refused() -> Tested {
    let mut cluster = durable_cluster("recovery", 3)?;
    let survivor = cluster.follower()?;
    let id = cluster.nodes[survivor].id.clone();
    let early = ctrlc(&cluster, survivor, &["recover", "--from", &id])?;
    let said = String::from_utf8_lossy(&early.stderr).into_owned();
    assert!(early.status.code() == Some(1) && said.contains("has a leader"), "{said}");
    let nobody = ctrlc(&cluster, survivor, &["recover", "--from", "nobody"])?;
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no live node is called nobody"));

    let lost: Vec<usize> = (0..3).filter(|&node| node != survivor).collect();
    kill(&mut cluster, &lost)?;
    wait_for("the loss to be seen", GENEROUS, || match cluster.status(survivor)?.leader {
        None => Ok(()),
        Some(leader) => Err(format!("{leader} leads")),
    })?;
    let done = ctrlc(&cluster, survivor, &["recover", "--from", &id])?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(said, format!("{id} goes on alone, as generation 2\n"), "{}", String::from_utf8_lossy(&done.stderr));
    cluster.converged_among(&[survivor], GENEROUS)?;
    assert_eq!(generation(&mut cluster, survivor)?, 2);
    Load::start_requests(&mut cluster, 500)?.finish()?;

    cluster.start_again(lost[0])?;
    let refused = |cluster: &DemoCluster| cluster.nodes[lost[0]].process.tail().contains("recovered as generation 2");
    wait_for("a former node to be told", GENEROUS, || match refused(&cluster) {
        true => Ok(()),
        false => Err(cluster.nodes[lost[0]].process.tail()),
    })?;
    assert_ne!(cluster.status(lost[0])?.state, "Operational");
    kill(&mut cluster, &lost[..1])?;
    for &node in &lost {
        start_anew(&mut cluster, node, survivor)?;
    }
    cluster.converged(GENEROUS)?;
    cluster.all_voters(GENEROUS)?;
    for node in 0..3 {
        assert_eq!(generation(&mut cluster, node)?, 2);
    }
    // The new generation outlives a restart of all.
    kill(&mut cluster, &[0, 1, 2])?;
    cluster.set_extra(&[]);
    for node in 0..3 {
        cluster.start_again(node)?;
    }
    cluster.converged(GENEROUS)?;
    assert_eq!(generation(&mut cluster, 0)?, 2);
    Ok(())
}

#[test]
fn a_node_is_recovered_from_its_data_directory_unless_the_cluster_lives() -> Tested {
    let mut cluster = durable_cluster("recovery-flag", 3)?;
    kill(&mut cluster, &[2])?;
    cluster.converged_among(&[0, 1], GENEROUS)?;
    cluster.set_extra(&["--recover"]);
    cluster.start_again(2)?;
    let ended = cluster.nodes[2].process.wait(GENEROUS)?;
    let said = cluster.nodes[2].process.tail();
    assert!(ended.code() == Some(1) && said.contains("--recover: ") && said.contains("nothing to recover"), "{said}");

    kill(&mut cluster, &[0, 1])?;
    cluster.start_again(1)?;
    cluster.nodes[1].process.line("recovered", GENEROUS)?;
    cluster.converged_among(&[1], GENEROUS)?;
    assert_eq!(generation(&mut cluster, 1)?, 2);
    for node in [0, 2] {
        start_anew(&mut cluster, node, 1)?;
    }
    cluster.converged(GENEROUS)?;
    Ok(())
}

#[test]
fn a_recovery_needs_a_data_directory_and_no_bootstrap() -> Tested {
    for (arguments, said) in
        [(&["--recover"][..], "--data-dir"), (&["--recover", "--data-dir", "x", "--bootstrap"], "--bootstrap")]
    {
        let output = Command::new(program("demo")?).env_clear().args(arguments).output();
        let output = output.map_err(|error| error.to_string())?;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && error.contains(said), "{arguments:?}: {error}");
    }
    Ok(())
}
