//! Clusters whose nodes and callers have certificates.

use std::process::{Command, Output};
use std::time::Duration;

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::load::{CLIENT, Load};
use funk_tests::blackbox::{Tested, program, wait_for};
use rustix::process::Signal;

mod files;
mod page;
mod strangers;

/// Requests a second beside what happens.
const RATE: u32 = 200;

fn endpoint(cluster: &mut DemoCluster, node: usize, name: &str) -> Result<String, String> {
    let status = cluster.status(node)?;
    let own = status.members.get(&status.node_id);
    let address =
        own.and_then(|own| own.endpoints.get(name)).ok_or_else(|| format!("no {name}: {}", status.brief()))?;
    Ok(address.to_string())
}

/// `ctrlc` with the certificate of `who`, at a node.
fn ctrlc(cluster: &mut DemoCluster, node: usize, who: &str, arguments: &[&str]) -> Result<Output, String> {
    let at = endpoint(cluster, node, "ep.clusterfunk.management")?;
    let mut command = Command::new(program("ctrlc")?);
    command.env_clear().args(["-n", cluster.name(), "--endpoint", &at]).args(cluster.pki()?.flags(who));
    command.args(arguments).output().map_err(|error| error.to_string())
}

/// What a command says that ends with this code.
fn said(output: &Output, code: i32) -> Result<String, String> {
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if output.status.code() == Some(code) { Ok(text) } else { Err(format!("{}, not {code}: {text}", output.status)) }
}

/// The lines of a node's log that hold all of `words`.
fn logged(cluster: &DemoCluster, node: usize, words: &[&str]) -> Result<Vec<String>, String> {
    let log = std::fs::read_to_string(cluster.nodes[node].process.log()).map_err(|error| error.to_string())?;
    Ok(log.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned).collect())
}

/// Waits until a node's log has a line with all of `words`.
fn wait_for_line(cluster: &DemoCluster, node: usize, words: &[&str]) -> Result<String, String> {
    let found = wait_for(&format!("{words:?} in the log"), GENEROUS, || {
        logged(cluster, node, words)?.pop().ok_or_else(|| "no such line".into())
    });
    found.map_err(|error| format!("{error}\n{}", cluster.tails(&[node])))
}

/// The sum over the series of a node's metrics whose lines begin with `name` and hold all of `labels`.
fn counted(cluster: &mut DemoCluster, node: usize, name: &str, labels: &[&str]) -> Result<f64, String> {
    let page = cluster.get(node, "/metrics")?.text();
    let lines = page.lines().filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
    lines
        .map(|line| {
            let count = line.rsplit(' ').next().unwrap_or_default();
            count.parse::<f64>().map_err(|error| format!("`{line}`: {error}"))
        })
        .sum()
}

#[test]
fn killing_the_leader_loses_no_request() -> Tested {
    let mut cluster = DemoCluster::start_with_tls("tls-kill", 3, &[])?;
    let load = Load::start_at(&mut cluster, RATE, Duration::from_secs(5))?;
    load.running(&mut cluster)?;
    let leader = cluster.leader()?;
    cluster.nodes[leader].process.signal(Signal::KILL);
    cluster.nodes[leader].process.wait(GENEROUS)?;
    cluster.converged(GENEROUS)?;
    let report = load.finish()?;
    assert!(report.nodes >= 2, "{report}");
    for node in cluster.live() {
        let plain = counted(&mut cluster, node, "funk_stream_plaintext_total", &[])?;
        assert_eq!(plain, 0.0, "all that was said between the nodes was said over TLS");
        assert!(counted(&mut cluster, node, "funk_tls_handshakes_total", &[])? > 0.0);
    }
    Ok(())
}

#[test]
fn a_role_decides_what_a_caller_may_and_each_node_keeps_a_record_of_it() -> Tested {
    let mut cluster = DemoCluster::start_with_tls("tls-roles", 3, &[])?;
    for (role, name) in [("observer", "olga"), ("operator", "alice"), ("client", CLIENT)] {
        cluster.pki()?.provide(role, name)?;
    }
    let (leader, follower) = (cluster.leader()?, cluster.follower()?);
    let leader_before = cluster.nodes[leader].id.clone();

    assert!(said(&ctrlc(&mut cluster, follower, "olga", &["status"])?, 0)?.contains(&leader_before));
    for (who, arguments, needed) in [
        ("olga", &["step-down"][..], "operator"),
        ("olga", &["node", "rm", "n0"], "operator"),
        (CLIENT, &["status"], "observer"),
        (CLIENT, &["node", "drain", "n0"], "operator"),
    ] {
        let refusal = said(&ctrlc(&mut cluster, follower, who, arguments)?, 1)?;
        assert!(refusal.contains(&format!("/{who} may not do this")) && refusal.contains(needed), "{refusal}");
        wait_for_line(&cluster, follower, &["funk::audit", who, "permission denied"])?;
    }
    let status = cluster.status(follower)?;
    assert_eq!(status.leader.as_ref(), Some(&leader_before), "{}", status.brief());
    assert_eq!(status.raft_members().len(), 3, "{}", status.brief());

    // A member that does not lead passes it on, in the name of whoever asked.
    let (drained, id) = (follower, cluster.nodes[follower].id.clone());
    said(&ctrlc(&mut cluster, drained, "alice", &["node", "drain", &id])?, 0)?;
    let alice = format!("spiffe://funk.local/{}/operator/alice", cluster.name());
    let at_leader = wait_for_line(&cluster, leader, &["funk::audit", &alice, "done"])?;
    let through = format!("through=\"{id}\"");
    assert!(at_leader.contains(&through) && at_leader.contains("127.0.0.1:"), "{at_leader}");
    wait_for_line(&cluster, follower, &["funk::audit", &alice])?;
    Ok(())
}
