//! Every example runs, and does what it is for.

use std::collections::BTreeSet;
use std::io::Error;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};

const PATIENCE: Duration = Duration::from_secs(60);

/// Set for a test that has a network of its own.
const ALONE: &str = "GREETER_TEST_ALONE";

/// A host's network: loopback, and one more interface.
const NETWORK: &str = "ip link set lo up && ip link add eth0 type veth peer name eth1 && ip link set eth1 up && \
    ip address add 10.77.0.1/24 dev eth0 && ip link set eth0 up";

/// Runs an example to its end, and gives what it prints.
fn run(command: &mut Command) -> Result<Vec<String>, String> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let lines: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    if output.status.success() { Ok(lines) } else { Err(format!("{command:?}: {}, {lines:?}", output.status)) }
}

/// A node that is ended with the test, however that ends.
struct Node(Child);

impl Node {
    fn start(program: &str, arguments: &[&str]) -> Result<Self, Error> {
        Command::new(program).args(arguments).spawn().map(Self)
    }

    /// Asks it to leave, and waits until it has.
    fn leave(mut self) {
        let id = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).expect("it has an id");
        kill_process(id, Signal::INT).expect("it runs");
        let ended = self.0.wait().expect("it is a child of this process");
        assert_eq!(ended.code(), Some(0));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether this process has a network of its own. If not, the test runs once more in one,
/// or is skipped where none can be made, which fails in continuous integration.
fn has_a_network_of_its_own(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let within = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(if geteuid().is_root() { &["--net"][..] } else { &["--map-root-user", "--net"] });
        command.args(["--", "sh", "-c", script, "sh"]);
        command
    };
    if !within(NETWORK).status().is_ok_and(|status| status.success()) {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{test}: no network namespace can be made here");
        eprintln!("*** SKIPPED: {test}: no network namespace can be made here");
        return false;
    }
    let this = std::env::current_exe().expect("a test knows where it is");
    let mut again = within(&format!("{NETWORK} && exec \"$@\""));
    let ended = again.arg(this).args(["--exact", test, "--nocapture"]).env(ALONE, "1").status();
    assert!(ended.expect("it starts").success(), "{test} failed in a network of its own");
    false
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
    let start = |program, arguments: &[&str]| Node::start(program, arguments).expect("it starts");
    let nodes = [start(sharded, &["--bootstrap"]), start(env!("CARGO_BIN_EXE_smol"), &[]), start(sharded, &[])];
    let names: Vec<_> = (0..30).map(|number| format!("guest-{number}")).collect();
    let started = Instant::now();
    while let Err(why) = all_three_greet(&names) {
        assert!(started.elapsed() < PATIENCE, "{why}");
    }
    nodes.into_iter().for_each(Node::leave);
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
