//! Every example runs, and does what it is for.

#[path = "support/process.rs"]
mod process;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use process::{Process, has_a_network_of_its_own};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs an example to its end, and gives what it prints.
fn run(command: &mut Command) -> Result<Vec<String>, String> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let lines: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    if output.status.success() { Ok(lines) } else { Err(format!("{command:?}: {}, {lines:?}", output.status)) }
}

#[test]
fn a_replicated_state_is_alike_on_all_nodes_those_that_come_late_too() -> Result<(), String> {
    let lines = run(&mut Command::new(env!("CARGO_BIN_EXE_replicated")))?;
    assert_eq!(lines, ["n1", "n2", "n3"].map(|node| format!("{node}: colour green, size small")));
    Ok(())
}

#[test]
fn a_former_owner_s_late_write_is_refused() -> Result<(), String> {
    let lines = run(&mut Command::new(env!("CARGO_BIN_EXE_fenced")))?;
    let wanted = ["n1 adds 5: Ok(5)", "n2 adds 10: Ok(15)", "n1's 1000 arrive: Err(TooLate)", "n2 adds 1: Ok(16)"];
    assert_eq!(lines, wanted);
    Ok(())
}

/// The examples' cluster has one name, so it gets a host of its own.
#[test]
fn greeters_on_tokio_and_on_smol_are_one_cluster_for_a_client() {
    if !has_a_network_of_its_own("greeters_on_tokio_and_on_smol_are_one_cluster_for_a_client") {
        return;
    }
    let sharded = env!("CARGO_BIN_EXE_sharded");
    let start = |program, arguments: &[&str]| Process::start(program, arguments).expect("it starts");
    let nodes = [start(sharded, &["--bootstrap"]), start(env!("CARGO_BIN_EXE_smol"), &[]), start(sharded, &[])];
    let names: Vec<_> = (0..30).map(|number| format!("guest-{number}")).collect();
    let started = Instant::now();
    while let Err(why) = all_three_greet(&names) {
        assert!(started.elapsed() < PATIENCE, "{why}");
    }
    for node in nodes {
        node.signal(Signal::INT);
        assert_eq!(node.end().0, Some(0));
    }
}

/// Has everybody greeted; the three nodes must share them.
fn all_three_greet(names: &[String]) -> Result<(), String> {
    let lines = run(Command::new(env!("CARGO_BIN_EXE_greet")).args(names))?;
    let is_greeting = |(name, line): (&String, &String)| line.starts_with(&format!("hello {name}, says "));
    if lines.len() != names.len() || !names.iter().zip(&lines).all(is_greeting) {
        return Err(format!("{lines:?}"));
    }
    let from: BTreeSet<_> = lines.iter().filter_map(|line| line.rsplit(' ').next()).collect();
    if from.len() == 3 { Ok(()) } else { Err(format!("only {from:?} greeted")) }
}
