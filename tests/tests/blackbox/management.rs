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

/// The directory of the code that is made from the schemas: the contract's, and the project's own.
fn generated(label: &str) -> Result<PathBuf, String> {
    let (dir, root) = (scratch(label)?, workspace());
    let (out, own, fixed) = (dir.display(), root.join("proto"), root.join("tests/python"));
    let outs = [format!("--python_out={out}"), format!("--grpc_python_out={out}")];
    // Two runs: both have the messages of the contract, under one name.
    for (folder, files) in [(&own, &["managepb.proto", "cluster.proto"][..]), (&fixed, &["contract.proto"])] {
        let include = format!("-I{}", folder.display());
        let files: Vec<_> = files.iter().map(|file| folder.join(file).display().to_string()).collect();
        let arguments = outs.iter().chain([&include]).chain(&files).map(String::as_str);
        python(&[&["-m", "grpc_tools.protoc"], &arguments.collect::<Vec<_>>()[..]].concat())?;
    }
    Ok(dir)
}

/// Where a node serves this.
fn endpoint(cluster: &mut DemoCluster, node: usize, name: &str) -> Result<String, String> {
    let status = cluster.status(node)?;
    let found = status.members.get(&cluster.nodes[node].id).and_then(|member| member.endpoints.get(name));
    found.map(ToString::to_string).ok_or_else(|| format!("{} has no {name}", status.node_id))
}

/// Runs a script of `tests/python` on a node.
fn script(cluster: &mut DemoCluster, code: &Path, file: &str, node: usize, rest: &[&str]) -> Result<(), String> {
    let script = workspace().join("tests/python").join(file).display().to_string();
    let management = endpoint(cluster, node, "ep.clusterfunk.management")?;
    python(&[&[&*script, &code.display().to_string(), &management], rest].concat())
}

/// Asks a node that is to name this leader (or nobody) all of the contract's calls.
fn ask(cluster: &mut DemoCluster, code: &Path, mode: &str, node: usize, leader: Option<usize>) -> Result<(), String> {
    let (id, name) = (cluster.nodes[node].id.clone(), cluster.name().to_owned());
    let leader = leader.map_or(String::new(), |leader| cluster.nodes[leader].id.clone());
    let nodes = cluster.nodes.len().to_string();
    script(cluster, code, "contract.py", node, &[mode, &id, &leader, &name, &nodes])
}

/// Asks a node all other calls.
fn ask_the_rest(cluster: &mut DemoCluster, code: &Path, mode: &str, node: usize) -> Result<(), String> {
    let (id, name) = (cluster.nodes[node].id.clone(), cluster.name().to_owned());
    let outside = endpoint(cluster, node, "ep.cluster")?;
    script(cluster, code, "outside.py", node, &[mode, &outside, &id, &name])
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
            ask_the_rest(&mut cluster, &code, "led", node)?;
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
fn members_come_give_up_their_shards_and_go_through_the_leader_and_through_a_follower() -> Tested {
    if !has_grpc() {
        return skip("changes of members from Python", "python3-grpcio or python3-grpc-tools is missing");
    }
    let code = generated("changes-python")?;
    let mut cluster = DemoCluster::start_with("management-changes", 1, &["--auto-join=false"])?;
    for node in 1..5 {
        cluster.join()?;
        let id = cluster.nodes[node].id.clone();
        wait_for("the first to see who waits", GENEROUS, || {
            let seen = cluster.status(0)?.members.get(&id).is_some_and(|member| member.serf == "alive");
            if seen { Ok(()) } else { Err(format!("{id} is not there")) }
        })?;
    }
    // The second to come is a follower through whom others come.
    for (node, through) in [(1, 0), (2, 1), (3, 0), (4, 1)] {
        let id = cluster.nodes[node].id.clone();
        script(&mut cluster, &code, "contract.py", through, &["add", &id])?;
        cluster.nodes[node].process.line("operational", GENEROUS)?;
    }
    cluster.all_voters(GENEROUS)?;
    let leader = cluster.leader()?;
    let followers: Vec<_> = (0..5).filter(|node| *node != leader).collect();
    for (node, through) in [(followers[2], leader), (followers[3], followers[0])] {
        let id = cluster.nodes[node].id.clone();
        script(&mut cluster, &code, "outside.py", through, &["drain", &id])?;
        let status = cluster.status(through)?;
        assert_eq!((status.shards_of(&id), status.raft_members().contains(&id.as_str())), (0, true));
        script(&mut cluster, &code, "contract.py", through, &["remove", &id])?;
        assert!(!cluster.status(through)?.raft_members().contains(&id.as_str()), "{id} is no member");
        assert_eq!(cluster.nodes[node].process.wait(GENEROUS)?.code(), Some(0), "a removed node ends, and stays down");
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
    ask_the_rest(&mut cluster, &code, "leaderless", survivor)?;
    Ok(())
}
