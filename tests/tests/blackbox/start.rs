//! A cluster starts, is joined, and says of itself what it should.

use std::collections::BTreeMap;
use std::time::Duration;

use funk_tests::blackbox::Tested;
use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS, check_shares};
use funk_tests::blackbox::http;
use funk_tests::blackbox::status::{self, MEMBER_FIELDS, STATUS_FIELDS};
use funk_tests::blackbox::trial::ids;
use serde_json::Value;

#[test]
fn a_bootstrap_and_two_joiners_become_one_operational_cluster() -> Tested {
    let mut cluster = DemoCluster::start("start", 3)?;
    let all = cluster.converged(GENEROUS)?;
    for (node, status) in all.iter().enumerate() {
        assert_eq!(status.cluster, cluster.name());
        assert_eq!(status.node_id, format!("n{node}"));
        assert_eq!(status.shards_total, 10_000);
        assert_eq!(status.members.len(), 3, "{}", status.brief());
        check_shares(status, &ids(&cluster, &[0, 1, 2]))?;
        let leads = status.leader.as_deref() == Some(&status.node_id);
        assert_eq!(status.role, if leads { "Leader" } else { "Follower" }, "{}", status.brief());
        assert!(status.commit_index >= status.applied_index && status.applied_index >= status.epoch);
    }
    for node in 0..3 {
        let process = &cluster.nodes[node].process;
        process.line("operational", GENEROUS)?;
        let lines: Vec<_> = process.lines().into_iter().map(|line| line.text).collect();
        assert_eq!(lines.len(), 2, "only the status line and `operational` go to stdout: {lines:?}");
        assert!(lines[0].starts_with("status http://127.0.0.1:") && lines[1] == "operational", "{lines:?}");
    }
    Ok(())
}

#[test]
fn every_shard_is_owned_once_and_all_nodes_list_the_same_owners() -> Tested {
    let mut cluster = DemoCluster::start("owners", 3)?;
    let mut lists = Vec::new();
    for node in 0..3 {
        lists.push(status::fetch_owners(cluster.page(node)?)?);
    }
    assert!(lists.iter().all(|list| *list == lists[0]), "the nodes list different owners");
    let (epoch, owners) = &lists[0];
    let status = cluster.status(0)?;
    assert_eq!(*epoch, status.epoch);
    assert_eq!(owners.len(), 10_000);
    let mut shares: BTreeMap<&str, u64> = BTreeMap::new();
    for owner in owners {
        *shares.entry(owner).or_default() += 1;
    }
    for (id, share) in shares {
        assert_eq!(status.shards_of(id), share, "{id} owns what its member entry says");
    }
    Ok(())
}

#[test]
fn the_status_json_has_the_fields_of_the_contract() -> Tested {
    let mut cluster = DemoCluster::start("fields", 1)?;
    let answer = cluster.get(0, "/api/v1/status")?;
    let json: Value = serde_json::from_slice(&answer.body)?;
    // What funk adds of its own begins with its name.
    let keys = |value: &Value| {
        let keys = value.as_object().expect("an object").keys().filter(|key| !key.starts_with("funk_"));
        let mut keys: Vec<_> = keys.cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&json), STATUS_FIELDS);
    for member in json["members"].as_array().ok_or("`members` is a list")? {
        assert_eq!(keys(member), MEMBER_FIELDS);
    }
    let endpoints = &cluster.status(0)?.members["n0"].endpoints;
    for name in ["ep.serf", "ep.raft", "ep.liveness", "ep.demo", "ep.httpConsole", "ep.metrics", "ep.monitoring"] {
        assert!(endpoints.contains_key(name), "{name} is missing in {endpoints:?}");
    }
    assert_eq!(endpoints["ep.metrics"], endpoints["ep.monitoring"]);
    assert_eq!(endpoints["ep.serf"], cluster.nodes[0].serf);
    assert_eq!(Some(endpoints["ep.httpConsole"]), cluster.nodes[0].page);
    Ok(())
}

#[test]
fn health_readiness_and_unknown_paths_answer() -> Tested {
    let mut cluster = DemoCluster::start("health", 1)?;
    assert_eq!(cluster.get(0, "/healthz")?.code, 200);
    assert_eq!(cluster.get(0, "/readyz")?.code, 200);
    assert_eq!(cluster.get(0, "/")?.code, 200);
    assert_eq!(cluster.get(0, "/no/such/page")?.code, 404);
    Ok(())
}

#[test]
fn a_node_that_waits_for_a_cluster_is_alive_but_not_ready() -> Tested {
    let mut cluster = DemoCluster::empty("waiting", &[])?;
    let unused = funk_tests::blackbox::ports::free()?.to_string();
    let node = cluster.join_at(&[&unused])?;
    assert_eq!(cluster.get(node, "/healthz")?.code, 200);
    let ready = cluster.get(node, "/readyz")?;
    assert_eq!(ready.code, 503);
    assert!(!ready.text().trim().is_empty(), "a refusal says why");
    let status = cluster.status(node)?;
    assert!(!status.may_serve && status.leader.is_none() && status.state == "Joining", "{}", status.brief());
    Ok(())
}

#[test]
fn metrics_carry_the_names_and_the_label_of_the_contract() -> Tested {
    let mut cluster = DemoCluster::start("metrics", 1)?;
    let metrics = cluster.status(0)?.members["n0"].endpoints["ep.metrics"];
    let answer = http::get(metrics, "/metrics", Duration::from_secs(5))?;
    assert_eq!(answer.code, 200);
    let text = answer.text();
    let value = |name: &str| {
        let start = format!("{name}{{node=\"n0\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("no {name} in:\n{text}"))
    };
    assert!((value("cf_cluster_cluster_size") - 1.0).abs() < f64::EPSILON);
    assert!((value("cf_cluster_shard_count") - 10_000.0).abs() < f64::EPSILON);
    assert!(value("cf_cluster_log_index") >= 1.0);
    assert!(value("cf_cluster_uptime") > 1e6, "nanoseconds");
    for (name, kind) in [
        ("cf_cluster_cluster_size", "gauge"),
        ("cf_cluster_shard_count", "gauge"),
        ("cf_cluster_log_index", "gauge"),
        ("cf_cluster_uptime", "gauge"),
        ("cf_cluster_requests", "counter"),
    ] {
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} is a {kind}:\n{text}");
    }
    // What the process takes of its machine has the names that every exporter gives it.
    let ours = |line: &str| ["#", "cf_cluster_", "funk_", "process_"].iter().any(|start| line.starts_with(start));
    let foreign: Vec<_> = text.lines().filter(|line| !line.is_empty() && !ours(line)).collect();
    assert!(foreign.is_empty(), "other names start with funk_: {foreign:?}");
    Ok(())
}

#[test]
fn nodes_on_all_runtimes_make_one_cluster() -> Tested {
    let mut cluster = DemoCluster::empty("runtimes", &[])?;
    cluster.bootstrap()?;
    for runtime in ["smol", "async-std"] {
        cluster.set_extra(&["--runtime", runtime]);
        cluster.join()?;
    }
    cluster.converged(GENEROUS)?;
    Ok(())
}
