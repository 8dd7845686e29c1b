//! Times from the start of a process until it is Operational.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::statistics::Sample;
use funk_tests::blackbox::cluster::{DemoCluster, Discovery, GENEROUS, discovery};

/// Median of a bootstrap.
const BOOTSTRAP_MAX: Duration = Duration::from_secs(1);

/// Median of a joiner.
const JOIN_MAX: Duration = Duration::from_millis(500);

/// Nodes that start at one moment, besides the bootstrap.
const CROWD: usize = 10;

/// Median and worst of a crowd, from its last start to one map.
const CROWD_MEDIAN_MAX: Duration = Duration::from_secs(3);
const CROWD_MAX: Duration = Duration::from_secs(10);

/// Measures all three, prints the table.
///
/// # Errors
/// When a start fails, or a time is over its limit.
pub fn measure(trials: usize) -> Result<(), String> {
    let bootstraps = repeat(trials, |_| bootstrap())?;
    let mut cluster = DemoCluster::start("startup-join", 3)?;
    let joins = repeat(trials, |_| join(&mut cluster))?;
    drop(cluster);
    let crowds = repeat(trials, |_| crowd())?;

    println!("\nmilliseconds from the start of the process (of the last one) to Operational");
    println!("{:>20} {}", "", Sample::head());
    println!("{:>20} {}", "bootstrap", bootstraps.row());
    println!("{:>20} {}", "joiner", joins.row());
    println!("{:>20} {}", "ten at one moment", crowds.row());
    let limits = [
        ("a bootstrap's median", bootstraps.median(), BOOTSTRAP_MAX),
        ("a joiner's median", joins.median(), JOIN_MAX),
        ("the median of ten at once", crowds.median(), CROWD_MEDIAN_MAX),
        ("the worst of ten at once", crowds.max(), CROWD_MAX),
    ];
    let over: Vec<_> = limits.iter().filter(|(_, time, limit)| time > limit).collect();
    let over: Vec<_> = over.iter().map(|(what, time, limit)| format!("{what} is {time:?}, over {limit:?}")).collect();
    if over.is_empty() { Ok(()) } else { Err(over.join("\n")) }
}

fn repeat(trials: usize, mut trial: impl FnMut(usize) -> Result<Duration, String>) -> Result<Sample, String> {
    Ok(Sample::new((0..trials).map(&mut trial).collect::<Result<_, _>>()?))
}

/// A bootstrap alone, until it says that it is operational.
fn bootstrap() -> Result<Duration, String> {
    let mut cluster = DemoCluster::empty("startup-bootstrap", &[])?;
    let node = cluster.bootstrap()?;
    until_operational(&cluster, node)
}

/// One more node for a live cluster, until it says that it is operational; it leaves again.
fn join(cluster: &mut DemoCluster) -> Result<Duration, String> {
    let node = cluster.join()?;
    let took = until_operational(cluster, node)?;
    cluster.nodes[node].process.signal(Signal::TERM);
    cluster.nodes[node].process.wait(GENEROUS)?;
    cluster.converged(GENEROUS)?;
    Ok(took)
}

fn until_operational(cluster: &DemoCluster, node: usize) -> Result<Duration, String> {
    let process = &cluster.nodes[node].process;
    Ok(process.line("operational", GENEROUS)?.at.duration_since(process.started()))
}

/// A bootstrap and ten joiners at one moment, until all are at one.
fn crowd() -> Result<Duration, String> {
    let mut cluster = DemoCluster::empty("startup-crowd", &[])?;
    cluster.bootstrap()?;
    for _ in 0..CROWD {
        match discovery() {
            Discovery::Join => cluster.join_at(&[&cluster.nodes[0].serf.to_string()])?,
            Discovery::Mdns => cluster.join()?,
        };
    }
    let started = Instant::now();
    cluster.converged(GENEROUS)?;
    let took = started.elapsed();
    eprintln!("ten at one moment: one map after {took:?}");
    Ok(took)
}
