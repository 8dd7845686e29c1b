//! Flags, environment variables, exit codes.

use std::process::{Command, ExitStatus};

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS, demo_command};
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::{Failure, Tested};
use funk_tests::blackbox::{program, scratch, wait_for};

/// Runs a program to its end: its exit status, and its log's lines.
fn run(name: &str, command: Command) -> Result<(ExitStatus, Vec<String>), Failure> {
    let dir = scratch("flags")?;
    let number = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
    let mut process = Process::start(&format!("{name}-{number}"), command, &dir)?;
    let status = process.wait(GENEROUS)?;
    let log = std::fs::read_to_string(process.log())?;
    assert!(process.lines().is_empty(), "errors go to stderr, stdout has {:?}", process.lines());
    Ok((status, log.lines().map(str::to_owned).collect()))
}

fn demo(arguments: &[&str]) -> Result<(ExitStatus, Vec<String>), Failure> {
    let mut command = Command::new(program("demo")?);
    command.env_clear().args(arguments);
    run("demo", command)
}

#[test]
fn wrong_values_end_with_code_2_and_one_line_that_names_the_flag() -> Tested {
    for (flag, value) in [
        ("--node-id", "not a name"),
        ("--node-id", "this-name-is-a-little-too-long-for-it"),
        ("--cluster-name", "_"),
        ("--interface", "0.0.0.0"),
        ("--interface", "nonsense"),
        ("--shards", "0"),
        ("--shards", "1048577"),
        ("--shards", "many"),
        ("--weight", "-1"),
        ("--advertise", "0.0.0.0"),
        ("--advertise", "no-such-host.invalid"),
        ("--advertise-raft", "224.0.0.1:7946"),
        ("--advertise-http", "no-such-host.invalid:80"),
        ("--serf-endpoint", "nowhere"),
        ("--raft-endpoint", "127.0.0.1"),
        ("--liveness-endpoint", "127.0.0.1:99999"),
        ("--liveness-interval", "20"),
        ("--liveness-interval", "0ms"),
        ("--liveness-retries", "x"),
        ("--lease", "1ms"),
        ("--leader-timeout", "10s"),
        ("--ack-timeout", "soon"),
        ("--runtime", "other"),
        ("--transport", "pigeon"),
        ("--log-level", "shouting"),
        ("--log-format", "xml"),
        ("--join", "no-port"),
        ("--join", "dns+srv://"),
        ("--join", "exec://peers"),
        ("--zeroconf", "perhaps"),
        ("--auto-join", "perhaps"),
    ] {
        let given = format!("{flag}={value}");
        let (status, lines) =
            demo(&["--interface", "127.0.0.1", "--zeroconf=false", &given][usize::from(flag == "--interface") * 2..])?;
        assert_eq!(status.code(), Some(2), "{given}: {lines:?}");
        assert_eq!(lines.len(), 1, "{given}: one line, not {lines:?}");
        let word = flag.trim_start_matches('-');
        let named = lines[0].contains(word) || lines[0].contains(&word.replace('-', " "));
        assert!(named, "{given}: the line names the flag: {lines:?}");
    }
    Ok(())
}

#[test]
fn unknown_flags_and_stray_words_end_with_code_2_and_one_line() -> Tested {
    for given in ["--no-such-flag", "stray"] {
        let (status, lines) = demo(&[given])?;
        assert_eq!(status.code(), Some(2), "{given}: {lines:?}");
        assert_eq!(lines.len(), 1, "{given}: one line, not {lines:?}");
    }
    Ok(())
}

#[test]
fn quic_without_certificates_ends_with_code_2_and_says_what_is_missing() -> Tested {
    let (status, lines) = demo(&["--transport", "quic"])?;
    assert_eq!(status.code(), Some(2), "{lines:?}");
    assert!(lines.len() == 1 && lines[0].contains("--tls-cert, --tls-key and --tls-ca"), "{lines:?}");
    Ok(())
}

#[test]
fn a_bad_gossip_key_ends_with_code_2_and_one_line_that_does_not_repeat_it() -> Tested {
    for key in ["c2VjcmV0", "secret"] {
        let (status, lines) = demo(&["--encrypt", key])?;
        assert_eq!(status.code(), Some(2), "{lines:?}");
        assert_eq!(lines.len(), 1, "one line, not {lines:?}");
        assert!(lines[0].contains("--encrypt") && lines[0].contains("16, 24 or 32"), "{lines:?}");
        assert!(!lines[0].contains(key), "{lines:?}");
    }
    Ok(())
}

#[test]
fn tls_without_all_of_its_files_ends_with_code_2_and_names_what_is_missing() -> Tested {
    for (given, named) in [
        (&["--tls-cert", "x"][..], "--tls-key is missing"),
        (&["--tls-cert", "x", "--tls-key", "x"], "--tls-ca is missing"),
        (&["--tls-cert", "x", "--tls-key", "x", "--tls-ca", "x"], "--tls-cert"),
    ] {
        let (status, lines) = demo(given)?;
        assert_eq!(status.code(), Some(2), "{given:?}: {lines:?}");
        assert_eq!(lines.len(), 1, "{given:?}: one line, not {lines:?}");
        assert!(lines[0].contains(named), "{given:?}: {lines:?}");
    }
    Ok(())
}

#[test]
fn every_flag_has_an_environment_variable() -> Tested {
    let mut command = Command::new(program("demo")?);
    command.env_clear();
    for (name, value) in [
        ("FUNK_BOOTSTRAP", "true"),
        ("FUNK_CLUSTER_NAME", "by-environment"),
        ("FUNK_NODE_ID", "from-env"),
        ("FUNK_INTERFACE", "127.0.0.1"),
        ("FUNK_ZEROCONF", "false"),
        ("FUNK_SHARDS", "77"),
        ("FUNK_WEIGHT", "3"),
        ("FUNK_LOG_FORMAT", "json"),
        ("FUNK_LIVENESS_INTERVAL", "10ms"),
        ("FUNK_RUNTIME", "smol"),
    ] {
        command.env(name, value);
    }
    let process = Process::start("env", command, &scratch("flags-env")?)?;
    process.line("operational", GENEROUS)?;
    let page = funk_tests::blackbox::cluster::page_address(&process.lines()[0].text)?;
    let mut client = funk_tests::blackbox::http::Client::new(page, GENEROUS);
    let status = funk_tests::blackbox::status::fetch(&mut client)?;
    assert_eq!((status.node_id.as_str(), status.cluster.as_str()), ("from-env", "by-environment"));
    assert_eq!(status.shards_total, 77);
    let log = std::fs::read_to_string(process.log())?;
    let json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    assert!(log.lines().all(json), "every line of the log is JSON:\n{log}");
    Ok(())
}

#[test]
fn the_environment_may_say_1_and_0_for_true_and_false_and_leave_lists_empty() -> Tested {
    let mut command = Command::new(program("demo")?);
    command.env_clear().args(["--interface", "127.0.0.1", "--cluster-name", "numbers"]);
    for (name, value) in [
        ("FUNK_BOOTSTRAP", "1"),
        ("FUNK_NON_MEMBER", "0"),
        ("FUNK_ZEROCONF", "0"),
        ("FUNK_AUTO_JOIN", "1"),
        ("FUNK_JOIN", ""),
    ] {
        command.env(name, value);
    }
    Process::start("numbers", command, &scratch("flags-numbers")?)?.line("operational", GENEROUS)?;
    for (program_name, variable) in [("demo", "FUNK_BOOTSTRAP"), ("seed", "FUNK_EVERY_CLUSTER"), ("ctrlc", "FUNK_TLS")]
    {
        let mut command = Command::new(program(program_name)?);
        command.env_clear().env(variable, "perhaps");
        if program_name == "ctrlc" {
            command.arg("status");
        }
        let (status, lines) = run(program_name, command)?;
        assert_eq!((status.code(), lines.len()), (Some(2), 1), "{variable}: {lines:?}");
    }
    Ok(())
}

#[test]
fn a_node_may_open_as_many_files_as_the_system_lets_it() -> Tested {
    let demo = program("demo")?;
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 128; exec \"$0\" --bootstrap --interface 127.0.0.1 --zeroconf=false"]).arg(demo);
    let process = Process::start("files", command, &scratch("flags-files")?)?;
    process.line("operational", GENEROUS)?;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.pid()))?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).ok_or("no such limit")?;
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[0], words[1], "{line}");
    Ok(())
}

#[test]
fn a_wrong_environment_variable_ends_with_code_2_and_names_it() -> Tested {
    let mut command = Command::new(program("demo")?);
    command.env_clear().env("FUNK_SHARDS", "none");
    let (status, lines) = run("demo", command)?;
    assert_eq!((status.code(), lines.len()), (Some(2), 1), "{lines:?}");
    assert!(lines[0].contains("--shards") || lines[0].contains("FUNK_SHARDS"), "{lines:?}");
    Ok(())
}

#[test]
fn the_command_line_wins_over_the_environment() -> Tested {
    let mut command = demo_command("priority")?;
    command.env("FUNK_NODE_ID", "env").args(["--node-id", "line", "--bootstrap"]);
    let process = Process::start("priority", command, &scratch("flags-priority")?)?;
    process.line("operational", GENEROUS)?;
    let page = funk_tests::blackbox::cluster::page_address(&process.lines()[0].text)?;
    let mut client = funk_tests::blackbox::http::Client::new(page, GENEROUS);
    assert_eq!(funk_tests::blackbox::status::fetch(&mut client)?.node_id, "line");
    Ok(())
}

#[test]
fn a_second_bootstrap_of_the_same_cluster_is_refused() -> Tested {
    let cluster = DemoCluster::start("second-bootstrap", 1)?;
    let mut command = demo_command(cluster.name())?;
    command.args([
        "--bootstrap",
        "--node-id",
        "rival",
        "--join",
        &cluster.nodes[0].serf.to_string(),
        "--log-level",
        "error",
    ]);
    let mut rival = Process::start("rival", command, cluster.dir())?;
    let ended = rival.wait(GENEROUS)?;
    assert_eq!(ended.code(), Some(1), "{}", rival.tail());
    assert!(rival.lines().iter().all(|line| line.text != "operational"));
    Ok(())
}

#[test]
fn a_node_of_another_cluster_name_stays_outside_and_says_why() -> Tested {
    let mut cluster = DemoCluster::start("other-name", 1)?;
    let mut command = demo_command("quite-another")?;
    command.args(["--node-id", "stranger", "--join", &cluster.nodes[0].serf.to_string()]);
    let stranger = Process::start("stranger", command, cluster.dir())?;
    wait_for("the reason", GENEROUS, || {
        let log = std::fs::read_to_string(stranger.log()).map_err(|error| error.to_string())?;
        if log.contains("another cluster") { Ok(()) } else { Err(log) }
    })?;
    assert!(stranger.lines().iter().all(|line| line.text != "operational"));
    let status = cluster.status(0)?;
    assert!(!status.members.contains_key("stranger"), "{}", status.brief());
    Ok(())
}

#[test]
fn a_client_that_asks_nodes_of_another_cluster_says_whose_they_are() -> Tested {
    let cluster = DemoCluster::start("client-other-name", 1)?;
    let mut command = Command::new(program("client")?);
    command.env_clear().args(["--cluster-name", "quite-another", "--join", &cluster.nodes[0].serf.to_string()]);
    let (status, lines) = run("client", command)?;
    assert_eq!((status.code(), lines.len()), (Some(1), 1), "{lines:?}");
    let said = format!("of cluster {}, not quite-another", cluster.name());
    assert!(lines[0].contains(&said), "{lines:?}");
    Ok(())
}

#[test]
fn a_join_under_a_name_that_a_live_member_has_is_refused() -> Tested {
    let mut cluster = DemoCluster::start("same-name", 2)?;
    let mut command = demo_command(cluster.name())?;
    command.args(["--node-id", "n1", "--join", &cluster.nodes[0].serf.to_string()]);
    let mut double = Process::start("double", command, cluster.dir())?;
    let ended = double.wait(GENEROUS)?;
    assert_eq!(ended.code(), Some(1), "{}", double.tail());
    cluster.converged(GENEROUS)?;
    Ok(())
}
