//! All nodes of a cluster with data directories end at once and come back.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;

use super::cluster::{DemoCluster, GENEROUS};
use super::load::Load;
use super::status::Status;

/// The load that runs while the power goes out; it is cut off with it.
const BEFORE: Duration = Duration::from_secs(60);
/// The load afterwards, which must be answered in full.
const AFTER: Duration = Duration::from_millis(500);

/// Three nodes with data directories.
///
/// # Errors
/// When they do not converge.
pub fn durable_cluster(label: &str, nodes: usize) -> Result<DemoCluster, String> {
    let mut cluster = DemoCluster::empty(label, &[])?;
    cluster.set_durable();
    cluster.fill(nodes)?;
    Ok(cluster)
}

/// Kills all nodes at once under load, starts them again, and checks that it
/// is the same cluster with nothing committed lost.
///
/// # Errors
/// What was lost.
pub fn round(cluster: &mut DemoCluster) -> Result<Duration, String> {
    let load = Load::start(cluster, BEFORE)?;
    load.running(cluster)?;
    let before = cluster.converged(GENEROUS)?;
    for node in &cluster.nodes {
        node.process.signal(Signal::KILL);
    }
    drop(load);
    for node in 0..cluster.nodes.len() {
        cluster.nodes[node].process.wait(GENEROUS)?;
        cluster.start_again(node)?;
    }
    let began = std::time::Instant::now();
    let after = cluster.converged(GENEROUS)?;
    let took = began.elapsed();
    check_kept(&before, &after)?;
    let load = Load::start(cluster, AFTER)?;
    load.finish()?;
    Ok(took)
}

/// Nothing that some node knew to be committed is missing afterwards.
fn check_kept(before: &[Status], after: &[Status]) -> Result<(), String> {
    let newest = |all: &[Status], field: fn(&Status) -> u64| all.iter().map(field).max().unwrap_or_default();
    let fields: [fn(&Status) -> u64; 3] = [|status| status.epoch, |status| status.commit_index, |status| status.term];
    for field in fields {
        let (was, is) = (newest(before, field), after.iter().map(field).min().unwrap_or_default());
        if is < was {
            return Err(format!("{is} came after {was}: {}", after[0].brief()));
        }
    }
    let ids = |all: &[Status]| all[0].members.keys().cloned().collect::<BTreeSet<_>>();
    if ids(before) != ids(after) || before[0].shards_total != after[0].shards_total {
        return Err(format!("other members or shards: {}", after[0].brief()));
    }
    Ok(())
}

/// The cluster ids that nodes named when they resumed.
///
/// # Errors
/// When a log cannot be read.
pub fn resumed_clusters(cluster: &DemoCluster) -> Result<BTreeSet<String>, String> {
    let mut ids = BTreeSet::new();
    for node in &cluster.nodes {
        let log = std::fs::read_to_string(node.process.log()).map_err(|error| error.to_string())?;
        let lines = log.lines().filter(|line| line.contains("cluster is resumed"));
        ids.extend(lines.filter_map(|line| Some(line.split_once("cluster=")?.1.split(' ').next()?.to_owned())));
    }
    Ok(ids)
}
