//! The gRPC services for other programs, called from Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::namespaces::skip;
use funk_tests::blackbox::{Tested, scratch, wait_for, workspace};
use rustix::process::Signal;

/// The system's own: its packages bring gRPC.
const PYTHON: &str = "/usr/bin/python3";

/// Runs Python to its end.
fn python(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(PYTHON).args(arguments).output().map_err(|error| format!("{PYTHON}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The directory of the code that is generated from the committed schemas.
fn generated(label: &str) -> Result<PathBuf, String> {
    let dir = scratch(label)?;
    let (out, proto) = (dir.display(), workspace().join("proto"));
    let outs = [format!("--python_out={out}"), format!("--grpc_python_out={out}"), format!("-I{}", proto.display())];
    let files = ["managepb.proto", "cluster.proto"].map(|file| proto.join(file).display().to_string());
    let arguments: Vec<_> = outs.iter().chain(&files).map(String::as_str).collect();
    python(&[&["-m", "grpc_tools.protoc"], &arguments[..]].concat())?;
    Ok(dir)
}

/// Asks a node that is to name this leader (or nobody).
fn ask(cluster: &mut DemoCluster, code: &Path, mode: &str, node: usize, leader: Option<usize>) -> Result<(), String> {
    let status = cluster.status(node)?;
    let id = cluster.nodes[node].id.clone();
    let leader = leader.map_or("", |leader| &cluster.nodes[leader].id);
    let endpoint = |name: &str| {
        let found = status.members.get(&id).and_then(|member| member.endpoints.get(name));
        found.map(ToString::to_string).ok_or_else(|| format!("{id} has no {name}"))
    };
    let script = workspace().join("tests/python/outside.py").display().to_string();
    let (management, outside) = (endpoint("ep.clusterfunk.management")?, endpoint("ep.cluster")?);
    let nodes = cluster.nodes.len().to_string();
    let code = code.display().to_string();
    python(&[&script, &code, mode, &management, &outside, &id, leader, cluster.name(), &nodes])
}

fn has_grpc() -> bool {
    python(&["-c", "import grpc, grpc_tools"]).is_ok()
}

#[test]
fn every_node_answers_every_call_and_the_leader_alone_steps_down() -> Tested {
    if !has_grpc() {
        return skip("management from Python", "python3-grpcio or python3-grpc-tools is missing");
    }
    let code = generated("management-python")?;
    for runtime in ["tokio", "smol"] {
        let mut cluster = DemoCluster::start_with(&format!("management-{runtime}"), 3, &["--runtime", runtime])?;
        let leader = cluster.leader()?;
        for node in 0..3 {
            ask(&mut cluster, &code, "led", node, Some(leader))?;
        }
        // Once through a follower, once at the leader itself.
        for follower in [true, false] {
            let leader = cluster.leader()?;
            let node = if follower { cluster.follower()? } else { leader };
            ask(&mut cluster, &code, "step-down", node, Some(leader))?;
            wait_for("another leader everywhere", GENEROUS, || {
                let leaders =
                    (0..3).map(|node| Ok(cluster.status(node)?.leader)).collect::<Result<Vec<_>, String>>()?;
                let old = &cluster.nodes[leader].id;
                match &leaders[0] {
                    Some(new) if new != old && leaders.iter().all(|each| each.as_ref() == Some(new)) => Ok(()),
                    _ => Err(format!("{leaders:?} lead, {old} did")),
                }
            })?;
        }
    }
    Ok(())
}

#[test]
fn a_node_without_a_majority_shows_what_it_knows_and_refuses_the_rest() -> Tested {
    if !has_grpc() {
        return skip("management without a leader", "python3-grpcio or python3-grpc-tools is missing");
    }
    let code = generated("leaderless-python")?;
    let mut cluster = DemoCluster::start("leaderless", 3)?;
    let survivor = cluster.follower()?;
    for node in (0..3).filter(|node| *node != survivor) {
        cluster.nodes[node].process.signal(Signal::KILL);
        cluster.nodes[node].process.wait(GENEROUS)?;
    }
    wait_for("the survivor to know no leader", GENEROUS, || match cluster.status(survivor)?.leader {
        None => Ok(()),
        Some(leader) => Err(format!("it names {leader}")),
    })?;
    ask(&mut cluster, &code, "leaderless", survivor, None)?;
    Ok(())
}
