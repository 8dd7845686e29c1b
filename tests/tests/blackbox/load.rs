//! A thousand requests a second while nodes come and go: none is lost.
//!
//! The client itself judges that each request was answered in time and that
//! no shard's epoch went back; it exits 1 otherwise.

use std::time::Duration;

use funk_tests::blackbox::Tested;
use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::fault::{Fault, Victim};
use funk_tests::blackbox::load::Load;
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::trial::{Plan, run};
use rustix::process::Signal;

const SETTLE: Duration = Duration::from_secs(3);

fn under_load(fault: Fault, victim: Victim) -> Tested {
    let plan = Plan { nodes: 3, fault, victim, settle: SETTLE, load: true };
    let outcome = run(&plan, &format!("load-{fault}-{victim}"))?;
    println!("{plan}: {:?}\n{}", outcome.times, outcome.load.expect("it was asked for"));
    Ok(())
}

#[test]
fn killing_the_leader_loses_no_request() -> Tested {
    under_load(Fault::Kill, Victim::Leader)
}

#[test]
fn killing_a_follower_loses_no_request() -> Tested {
    under_load(Fault::Kill, Victim::Follower)
}

#[test]
fn stopping_and_waking_the_leader_loses_no_request() -> Tested {
    under_load(Fault::Stop, Victim::Leader)
}

#[test]
fn stopping_and_waking_a_follower_loses_no_request() -> Tested {
    under_load(Fault::Stop, Victim::Follower)
}

#[test]
fn joins_and_orderly_leaves_lose_no_request() -> Tested {
    let mut cluster = DemoCluster::start("load-churn", 3)?;
    let load = Load::start(&mut cluster, Duration::from_secs(10))?;
    load.running(&mut cluster)?;
    cluster.join()?;
    cluster.converged(GENEROUS)?;
    for leave in [1, 0] {
        cluster.nodes[leave].process.signal(Signal::TERM);
        let ended = cluster.nodes[leave].process.wait(GENEROUS)?;
        assert_eq!(ended.code(), Some(0), "{}", cluster.nodes[leave].process.tail());
        cluster.converged(GENEROUS)?;
    }
    cluster.join()?;
    cluster.converged(GENEROUS)?;
    println!("{}", load.finish()?);
    Ok(())
}

#[test]
fn the_client_reports_a_cluster_that_cannot_answer() -> Tested {
    let cluster = DemoCluster::empty("load-nobody", &[])?;
    let unused = funk_tests::blackbox::ports::free()?.to_string();
    let mut command = std::process::Command::new(funk_tests::blackbox::program("client")?);
    command.args(["--cluster-name", "nobody", "--zeroconf=false", "--repeats", "1", "--join", &unused]);
    let mut client = Process::start("client", command, cluster.dir())?;
    let ended = client.wait(GENEROUS)?;
    assert_eq!(ended.code(), Some(1), "{}", client.tail());
    Ok(())
}
