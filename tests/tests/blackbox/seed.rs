//! A gossip-only node that others join through.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS, demo_command, page_address};
use funk_tests::blackbox::http::{self, Client};
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::status;
use funk_tests::blackbox::{Tested, program, wait_for};
use rustix::process::Signal;

/// Starts a seed that keeps a snapshot in `dir`.
fn seed(cluster: &str, name: &str, dir: &Path) -> Result<Process, String> {
    let mut command = Command::new(program("seed")?);
    command.env_clear().args(["--cluster-name", cluster, "--interface", "127.0.0.1", "--zeroconf=false"]);
    command.args(["--http", "127.0.0.1:0", "--snapshot"]).arg(dir.join("seed.snapshot"));
    Process::start(name, command, dir)
}

fn serf(seed: &Process) -> Result<String, String> {
    let line = seed.line("serf ", GENEROUS)?;
    Ok(line.text["serf ".len()..].to_owned())
}

#[test]
fn nodes_that_know_only_the_seed_become_one_cluster_and_a_restarted_seed_finds_them() -> Tested {
    let mut cluster = DemoCluster::empty("seed", &[])?;
    let dir = cluster.dir().to_owned();
    let mut first = seed(cluster.name(), "seed-1", &dir)?;
    let at = serf(&first)?;
    cluster.set_extra(&["--join", &at]);
    cluster.bootstrap()?;
    cluster.join_at(&[])?;
    cluster.join_at(&[])?;
    let all = cluster.converged(GENEROUS)?;
    assert_eq!(all[0].raft_members().len(), 3, "the seed is no member: {}", all[0].brief());
    for node in ["n0", "n1", "n2"] {
        first.line(&format!("alive {node} 127.0.0.1:"), GENEROUS)?;
    }
    wait_for("the snapshot to name all", GENEROUS, || names_all(&dir))?;

    first.signal(Signal::KILL);
    first.wait(GENEROUS)?;
    let mut second = seed(cluster.name(), "seed-2", &dir)?;
    assert_ne!(serf(&second)?, at, "it has another port");
    for node in ["n0", "n1", "n2"] {
        second.line(&format!("alive {node} 127.0.0.1:"), GENEROUS)?;
    }
    let page = page_address(&second.line("status ", GENEROUS)?.text)?;
    let seen = status::fetch(&mut Client::new(page, Duration::from_secs(2)))?;
    assert_eq!((seen.role.as_str(), seen.may_serve, seen.shards_owned), ("NonMember", false, 0));
    assert_eq!(http::get(page, "/readyz", GENEROUS).map_err(|error| error.to_string())?.code, 503);

    // Whoever joins through the new seed finds the old cluster.
    cluster.set_extra(&["--join", &serf(&second)?]);
    cluster.join_at(&[])?;
    cluster.converged(GENEROUS)?;
    second.signal(Signal::TERM);
    assert_eq!(second.wait(GENEROUS)?.code(), Some(0), "{}", second.tail());
    assert!(names_all(&dir).is_ok(), "its own end is not written down");
    Ok(())
}

fn names_all(dir: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(dir.join("seed.snapshot")).map_err(|error| error.to_string())?;
    let all = ["n0", "n1", "n2"].iter().all(|node| text.lines().any(|line| line.ends_with(&format!(" {node}"))));
    if all { Ok(()) } else { Err(text) }
}

#[test]
fn a_seed_of_every_cluster_keeps_clusters_apart_and_a_seed_of_one_turns_others_away() -> Tested {
    let mut cluster = DemoCluster::empty("seed-of-every", &[])?;
    let dir = cluster.dir().to_owned();
    let mut command = Command::new(program("seed")?);
    command.env_clear().args(["--every-cluster", "--interface", "127.0.0.1"]);
    let open = Process::start("seed-open", command, &dir)?;
    let closed = seed(cluster.name(), "seed-closed", &dir)?;
    let seeds = [serf(&open)?, serf(&closed)?];
    let join = ["--join", &seeds[0], "--join", &seeds[1]];
    cluster.set_extra(&join);
    cluster.bootstrap()?;
    cluster.join_at(&[])?;
    cluster.converged(GENEROUS)?;

    let mut command = demo_command(&format!("{}-other", cluster.name()))?;
    command.args(["--node-id", "stranger", "--bootstrap"]).args(join);
    let stranger = Process::start("stranger", command, &dir)?;
    stranger.line("operational", GENEROUS)?;
    for node in ["n0", "n1", "stranger"] {
        open.line(&format!("alive {node} "), GENEROUS)?;
    }
    for node in ["n0", "n1"] {
        closed.line(&format!("alive {node} "), GENEROUS)?;
    }
    assert!(!closed.lines().iter().any(|line| line.text.contains("stranger")), "{:?}", closed.lines());
    for node in [0, 1] {
        let status = cluster.status(node)?;
        assert!(!status.members.contains_key("stranger"), "{}", status.brief());
    }
    Ok(())
}

/// Starts a seed of this name that joins there.
fn named(cluster: &DemoCluster, process: &str, id: &str, join: &str) -> Result<Process, String> {
    let mut command = Command::new(program("seed")?);
    command.env_clear().args(["--cluster-name", cluster.name(), "--interface", "127.0.0.1", "--zeroconf=false"]);
    command.args(["--log-level", "error", "--node-id", id, "--join", join]);
    Process::start(process, command, cluster.dir())
}

/// The one line with which it ends.
fn ends_with_code_1(seed: &mut Process) -> Result<String, String> {
    let ended = seed.wait(GENEROUS)?;
    let log = std::fs::read_to_string(seed.log()).map_err(|error| error.to_string())?;
    if ended.code() != Some(1) || log.lines().count() != 1 {
        return Err(format!("{ended}: {log}"));
    }
    Ok(log)
}

#[test]
fn a_seed_whose_name_a_live_node_has_ends_and_says_so() -> Tested {
    let mut cluster = DemoCluster::empty("seed-name", &[])?;
    cluster.bootstrap()?;
    cluster.converged(GENEROUS)?;
    let first = cluster.nodes[0].serf.to_string();
    // Once where only the namesake is, once where others know it too.
    let said = ends_with_code_1(&mut named(&cluster, "seed-alone", "n0", &first)?)?;
    assert!(said.contains("a live node is named n0 already"), "{said}");
    cluster.join()?;
    let mut namesake = named(&cluster, "seed-first", "s", &first)?;
    for node in ["n0", "n1"] {
        namesake.line(&format!("alive {node} "), GENEROUS)?;
    }
    let second = cluster.nodes[1].serf.to_string();
    wait_for("the seed to be known", GENEROUS, || match cluster.status(1)?.members.get("s") {
        Some(seed) if seed.serf == "alive" => Ok(()),
        seed => Err(format!("{seed:?}")),
    })?;
    let said = ends_with_code_1(&mut named(&cluster, "seed-second", "s", &second)?)?;
    assert!(said.contains("a live node is named s already"), "{said}");

    // Its end is no end of the one that had the name first; one that was killed is no live node.
    assert!(namesake.ended().is_none(), "{}", namesake.tail());
    namesake.signal(Signal::KILL);
    namesake.wait(GENEROUS)?;
    // It looks for a namesake before it tells of whom it met.
    let mut again = named(&cluster, "seed-again", "s", &second)?;
    for node in ["n0", "n1"] {
        again.line(&format!("alive {node} "), GENEROUS)?;
    }
    assert!(again.ended().is_none(), "{}", again.tail());
    Ok(())
}

#[test]
fn wrong_usage_of_the_seed_names_the_flag() -> Tested {
    for (arguments, code, said) in [
        (&["--interface", "0.0.0.0"][..], 2, "--interface"),
        (&["--interface", "127.0.0.1", "--http", "0.0.0.0:0"], 2, "--http 0.0.0.0:0"),
        (&["--interface", "127.0.0.1", "--http", "[::]:0"], 2, "--http [::]:0"),
        (&["--no-such-flag"], 2, "--no-such-flag"),
        (&["--interface", "127.0.0.1", "--snapshot", "/"], 1, "--snapshot"),
        (&["--interface", "127.0.0.1", "--http", "203.0.113.1:1"], 1, "--http"),
    ] {
        let output =
            Command::new(program("seed")?).env_clear().args(arguments).args(["--log-level", "error"]).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(said) && error.trim_end().lines().count() == 1, "{arguments:?}: {error}");
    }
    Ok(())
}
