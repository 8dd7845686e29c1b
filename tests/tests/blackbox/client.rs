//! `bin/client` against real clusters: it calls owners directly, and loses nothing while nodes come and go.

use std::process::Command;
use std::time::{Duration, Instant};

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::load::{Counted, Load};
use funk_tests::blackbox::{Tested, program, wait_for};
use rustix::process::Signal;

/// Requests of the long run, unless `FUNK_REQUESTS` says another number.
const REQUESTS: u64 = 10_000;

#[test]
fn at_rest_the_owner_is_called_directly() -> Tested {
    let mut cluster = DemoCluster::start("client-direct", 3)?;
    let before = Counted::at(&mut cluster)?;
    let report = Load::start(&mut cluster, Duration::from_secs(3))?.finish()?;
    let counted = Counted::at(&mut cluster)?.since(before);
    println!("{report}; {counted}");
    assert_eq!(report.nodes, 3, "all nodes own shards, so all served");
    assert!(counted.all >= report.total, "each request came in somewhere: {counted}");
    // Nothing moves, so nothing needs a second node.
    assert!(counted.passed_on * 100 < counted.all, "{counted}");
    // The client counts the same from its side.
    assert_eq!(report.direct + report.passed_on, report.total);
    assert!(report.passed_on <= counted.passed_on, "{} passed on, {counted}", report.passed_on);
    Ok(())
}

/// Drains a node as people do.
fn drain(cluster: &DemoCluster, node: usize, through: usize) -> Result<(), String> {
    let join = cluster.nodes[through].serf.to_string();
    let mut command = Command::new(program("ctrlc")?);
    command.env_clear().args(["node", "drain", &cluster.nodes[node].id, "-n", cluster.name(), "--join", &join]);
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Waits until so many of those that vote are alive that the next kill leaves
/// a majority. A dead one may go on counting: of four nodes that live and one
/// that is dead, all five vote.
fn spares_a_voter(cluster: &mut DemoCluster) -> Result<(), String> {
    let live: Vec<_> = cluster.live();
    let ids: Vec<_> = live.iter().map(|&node| cluster.nodes[node].id.clone()).collect();
    wait_for("a voter to spare", GENEROUS, || {
        for &node in &live {
            let status = cluster.status(node)?;
            let voters: Vec<_> = status.members.iter().filter(|(_, member)| member.raft == "Voter").collect();
            let alive = voters.iter().filter(|(id, _)| ids.contains(id)).count();
            if alive < 3 || alive - 1 <= voters.len() / 2 {
                return Err(status.brief());
            }
        }
        Ok(())
    })
}

#[test]
fn no_request_is_lost_while_nodes_are_killed_drained_and_added() -> Tested {
    let wanted: u64 = std::env::var("FUNK_REQUESTS").map_or(Ok(REQUESTS), |text| text.parse())?;
    let mut cluster = DemoCluster::start("client-churn", 4)?;
    let mut load = Load::start_requests(&mut cluster, wanted)?;
    load.running(&mut cluster)?;
    let began = Instant::now();
    let mut rounds = 0;
    // At least one whole round, however long the requests take.
    while rounds == 0 || load.is_running() {
        rounds += 1;
        spares_a_voter(&mut cluster)?;
        let live = cluster.live();
        let [first, second, ..] = live[..] else { return Err("two nodes are to go, and some to stay".into()) };
        cluster.nodes[first].process.signal(Signal::KILL);
        cluster.nodes[first].process.wait(GENEROUS)?;
        cluster.converged(GENEROUS)?;
        cluster.join()?;
        cluster.converged(GENEROUS)?;
        // A change of leaders meanwhile ends it; then it is ordered again.
        wait_for("the drain", GENEROUS, || drain(&cluster, second, live[2]))?;
        cluster.nodes[second].process.signal(Signal::TERM);
        cluster.nodes[second].process.wait(GENEROUS)?;
        cluster.converged(GENEROUS)?;
        cluster.join()?;
        cluster.converged(GENEROUS)?;
    }
    let report = load.finish()?;
    println!("{report}; in {:?} {rounds} rounds of a kill, a drain and two joins", began.elapsed());
    assert!(report.total >= wanted, "{report}");
    Ok(())
}
