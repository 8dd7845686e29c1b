//! What health checks of containers and service managers ask: `ctrlc health`, and a drain that waits for load balancers.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS, demo_command, page_address};
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::{Tested, http, ports, program, scratch, wait_for};
use rustix::process::Signal;

/// `ctrlc` in an environment of its own; the end of the process and all it said.
fn ctrlc(environment: &[(&str, &str)], arguments: &[&str]) -> Result<(Option<i32>, String), String> {
    let mut command = Command::new(program("ctrlc")?);
    let Output { status, stdout, stderr } = command
        .env_clear()
        .envs(environment.iter().copied())
        .args(arguments)
        .output()
        .map_err(|error| error.to_string())?;
    Ok((status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned()))
}

fn demo(label: &str, id: &str, arguments: &[&str]) -> Result<Process, String> {
    let dir = scratch(&format!("{label}-{id}"))?;
    let mut command = demo_command(&format!("{label}-{}", std::process::id()))?;
    command.args(["--node-id", id]).args(arguments);
    Process::start(id, command, &dir)
}

fn page(node: &Process) -> Result<SocketAddr, String> {
    page_address(&node.line("status ", GENEROUS)?.text)
}

#[test]
fn a_node_that_serves_is_well_and_one_that_waits_lives() -> Tested {
    let serves = demo("health", "n1", &["--bootstrap"])?;
    let waits = demo("health", "n2", &["--join", "127.0.0.1:1"])?;
    serves.line("operational", GENEROUS)?;
    for (node, ready) in [(&serves, 0), (&waits, 1)] {
        let at = page(node)?.to_string();
        assert_eq!(ctrlc(&[], &["health", &format!("http://{at}/healthz")])?.0, Some(0));
        assert_eq!(ctrlc(&[], &["health", &format!("http://{at}/readyz")])?.0, Some(ready));
        // In the environment of a node its page is known.
        let environment = [("FUNK_HTTP_ENDPOINT", at.as_str()), ("FUNK_ZEROCONF", "false"), ("FUNK_HTTP_TLS", "true")];
        assert_eq!(ctrlc(&environment, &["health"])?.0, Some(0));
        let (code, said) = ctrlc(&environment, &["health", "/readyz"])?;
        assert_eq!(code, Some(ready), "{said}");
        assert!(if ready == 0 { said == "ready\n" } else { said.contains("503: the node is Joining") }, "{said}");
    }
    let (code, said) = ctrlc(&[], &["health", &format!("http://{}/readyz", page(&serves)?), "--output", "json"])?;
    assert!(code == Some(0) && said.contains("\"healthy\": true"), "{said}");
    Ok(())
}

#[test]
fn who_does_not_answer_is_not_well() -> Tested {
    let nobody = ports::free()?;
    let (code, said) = ctrlc(&[], &["health", &format!("http://{nobody}/healthz")])?;
    assert!(code == Some(1) && said.contains(&nobody.to_string()) && said.lines().count() == 1, "{said}");
    let node = demo("health-still", "n1", &["--bootstrap"])?;
    let url = format!("http://{}/healthz", page(&node)?);
    node.signal(Signal::STOP);
    let (code, said) = ctrlc(&[], &["health", &url, "--timeout", "300ms"])?;
    assert!(code == Some(1) && said.contains("does not answer within 300ms"), "{said}");
    let (code, said) = ctrlc(&[], &["health"])?;
    assert!(code == Some(2) && said.contains("--http-endpoint"), "{said}");
    Ok(())
}

/// Certificates of a node and of a program, by an authority of their own; the flags that lead to them.
fn certificates(dir: &Path, cluster: &str) -> Result<[Vec<String>; 2], String> {
    let at = dir.to_str().ok_or("a path that is text")?;
    ctrlc(&[], &["tls", "init", at])?;
    for (role, name) in [("node", "n1"), ("client", "probe")] {
        let made = ctrlc(&[("FUNK_CLUSTER_NAME", cluster)], &["tls", "issue", role, name, "--dir", at])?;
        assert_eq!(made.0, Some(0), "{}", made.1);
    }
    let flags = |name: &str| {
        let files = [("cert", format!("{name}.pem")), ("key", format!("{name}-key.pem")), ("ca", "ca.pem".into())];
        files.into_iter().flat_map(|(flag, file)| [format!("--tls-{flag}"), format!("{at}/{file}")]).collect()
    };
    Ok([flags("n1"), flags("probe")])
}

#[test]
fn a_page_with_https_is_asked_over_it_and_believed_by_its_authority_alone() -> Tested {
    let cluster = format!("health-tls-{}", std::process::id());
    let [own, probe] = certificates(&scratch("health-certificates")?, &cluster)?;
    let [_, stranger] = certificates(&scratch("health-strangers")?, &cluster)?;
    let dir = scratch("health-tls")?;
    let mut command = demo_command(&cluster)?;
    command.args(["--node-id", "n1", "--bootstrap"]).args(&own);
    let node = Process::start("n1", command, &dir)?;
    let line = node.line("status https://", GENEROUS)?.text;
    node.line("operational", GENEROUS)?;
    let at = line.trim_start_matches("status https://").trim_end_matches('/');
    let environment = [("FUNK_HTTP_ENDPOINT", at)];
    let with = |flags: &[String]| -> Result<_, String> {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        ctrlc(&environment, &[&["health", "/readyz"], &flags[..]].concat())
    };
    // A node that checks itself, and another program.
    for flags in [&own, &probe] {
        let (code, said) = with(flags)?;
        assert_eq!((code, said.as_str()), (Some(0), "ready\n"));
    }
    assert_eq!(with(&stranger)?.0, Some(1), "an authority that has not signed it");
    assert_eq!(with(&[])?.0, Some(1), "no TLS");
    Ok(())
}

#[test]
fn a_drain_lingers_so_that_load_balancers_hear_of_it() -> Tested {
    const LINGER: Duration = Duration::from_millis(700);
    let mut cluster = DemoCluster::start("linger", 3)?;
    cluster.converged(GENEROUS)?;
    let (id, join) = (cluster.nodes[1].id.clone(), cluster.nodes[0].serf.to_string());
    let name = cluster.name().to_owned();
    // As in the node's own environment.
    let environment = [("FUNK_NODE_ID", id.as_str()), ("FUNK_JOIN", &join), ("FUNK_CLUSTER_NAME", &name)];
    let began = Instant::now();
    let (code, said) = ctrlc(&environment, &["node", "drain", "--linger", "700ms"])?;
    assert_eq!((code, said), (Some(0), format!("{id} drained\n")));
    assert!(began.elapsed() >= LINGER);
    let status = cluster.status(1)?;
    assert!(status.shards_owned == 0, "{}", status.shards_owned);
    // Whatever came of it: the node is stopped next.
    let began = Instant::now();
    assert_eq!(ctrlc(&environment, &["node", "drain", "nobody", "--linger", "700ms"])?.0, Some(1));
    assert!(began.elapsed() >= LINGER);
    Ok(())
}

/// The page of a node of the next test.
fn status(at: SocketAddr) -> Result<serde_json::Value, String> {
    let answer = http::get(at, "/api/v1/status", GENEROUS).map_err(|error| error.to_string())?;
    serde_json::from_str(&answer.text()).map_err(|error| error.to_string())
}

#[test]
fn the_first_node_starts_the_cluster_and_joins_it_when_its_directory_was_lost() -> Tested {
    let mut places = Vec::new();
    for id in ["n1", "n2", "n3"] {
        places.push((id, ports::free()?.to_string(), ports::free()?));
    }
    let dir = scratch("first")?;
    let start = |(id, door, page): &(&str, String, SocketAddr)| {
        let (data, page) = (dir.join(id), page.to_string());
        let data = data.to_str().ok_or("a path that is text")?;
        let flags = ["--bootstrap-node", "n1", "--data-dir", data, "--serf-endpoint", door, "--http-endpoint", &page];
        let joins = places.iter().flat_map(|(_, door, _)| ["--join", door]);
        demo("first", id, &flags.into_iter().chain(joins).collect::<Vec<_>>())
    };
    let pages: Vec<_> = places.iter().map(|place| place.2).collect();
    let mut nodes = places.iter().map(start).collect::<Result<Vec<_>, String>>()?;
    for node in &nodes {
        node.line("operational", GENEROUS)?;
    }
    wait_for("three voters", GENEROUS, || {
        let members = status(pages[0])?["members"].clone();
        let voters = members.as_array().into_iter().flatten().filter(|member| member["raft"] == "Voter").count();
        if voters == 3 { Ok(()) } else { Err(format!("{members}")) }
    })?;
    let cluster = status(pages[1])?["funk_cluster"].clone();
    assert!(cluster.is_string(), "{cluster}");
    nodes[0].signal(Signal::TERM);
    nodes[0].wait(GENEROUS)?;
    std::fs::remove_dir_all(dir.join("n1"))?;
    nodes[0] = start(&places[0])?;
    nodes[0].line("operational", GENEROUS)?;
    assert_eq!(status(pages[0])?["funk_cluster"], cluster, "it is the cluster that was there");
    // With its directory it goes on with what is in there, whoever else is there.
    nodes[0].signal(Signal::TERM);
    nodes[0].wait(GENEROUS)?;
    nodes[0] = start(&places[0])?;
    nodes[0].line("operational", GENEROUS)?;
    assert_eq!(status(pages[0])?["funk_cluster"], cluster);
    Ok(())
}
