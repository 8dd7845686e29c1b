//! Pins, and what is told of a change before it is made, on real processes through `ctrlc`.

use std::process::Command;

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::status::fetch_owners;
use funk_tests::blackbox::{Tested, program, wait_for};
use serde_json::Value;

/// Asks a node of the cluster, and gives what it says as JSON.
fn ctrlc(cluster: &DemoCluster, asked: usize, arguments: &[&str]) -> Result<Value, String> {
    let join = cluster.nodes[asked].serf.to_string();
    let mut command = Command::new(program("ctrlc")?);
    command.env_clear().args(cluster.caller("operator")?).args(arguments).args([
        "-n",
        cluster.name(),
        "--join",
        &join,
        "--output",
        "json",
    ]);
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.code() != Some(0) {
        return Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{arguments:?}: {error}"))
}

/// The owner of each shard that a plan tells of.
fn told_owners(told: &Value) -> Vec<String> {
    let ranges = told["owners"].as_array().cloned().unwrap_or_default();
    let of = |range: &Value| {
        let count = range["count"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        vec![range["node"].as_str().unwrap_or("").to_owned(); count]
    };
    ranges.iter().flat_map(of).collect()
}

fn wait_for_owners(cluster: &mut DemoCluster, asked: usize, wanted: &[String]) -> Result<(), String> {
    let page = cluster.page(asked)?;
    wait_for("the map that was told", GENEROUS, || {
        let owners = fetch_owners(page)?.1;
        let wrong = owners.iter().zip(wanted).filter(|(a, b)| a != b).count();
        if owners.len() == wanted.len() && wrong == 0 { Ok(()) } else { Err(format!("{wrong} shards are elsewhere")) }
    })
}

#[test]
fn a_change_does_what_was_told_of_it() -> Tested {
    let mut cluster = DemoCluster::start("shares", 3)?;
    let leader = cluster.leader()?;
    // Neither the node that is asked nor the one that it is about leads.
    let asked = (0..3).find(|&node| node != leader).ok_or("three nodes have a follower")?;
    let home = (0..3).find(|&node| node != leader && node != asked).ok_or("three nodes have two")?;
    let id = cluster.nodes[home].id.clone();

    let pin = format!("0-4999,{id}");
    let told = ctrlc(&cluster, asked, &["shards", "--plan", &format!("pin={pin}")])?;
    assert!(told["moved"].as_u64() > Some(0), "{told}");
    let before = fetch_owners(cluster.page(asked)?)?.1;
    assert_ne!(before, told_owners(&told), "to ask changes nothing");
    ctrlc(&cluster, asked, &["shards", "--pin", &pin])?;
    wait_for_owners(&mut cluster, asked, &told_owners(&told))?;
    assert!(told_owners(&told)[..5_000].iter().all(|owner| *owner == id));

    let told = ctrlc(&cluster, asked, &["shards", "--plan", &format!("drain={id}")])?;
    ctrlc(&cluster, asked, &["node", "drain", &id])?;
    wait_for_owners(&mut cluster, asked, &told_owners(&told))?;
    let status = cluster.get(asked, "/api/v1/status")?;
    let status: Value = serde_json::from_slice(&status.body).map_err(|error| error.to_string())?;
    assert_eq!(status["funk_pins"][0]["honoured"], Value::Bool(false), "{status}");
    assert!(status["funk_worker_id"].as_u64() < Some(3), "{status}");

    ctrlc(&cluster, asked, &["shards", "--unpin", "0-9999"])?;
    let idle = ctrlc(&cluster, asked, &["shards", "--plan", "none"])?;
    assert_eq!(idle["moved"], 0, "{idle}");
    Ok(())
}
