//! Every example runs, and the pages show what runs.

use std::process::Command;
use std::time::Duration;

use funk_tests::blackbox::namespaces::{Network, TOOLS, with_tools};
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::{Tested, scratch, wait_for, workspace};
use funk_tests::pages::{blocks, read};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(60);

/// The service as the pages show it: all of `main`.
fn shown() -> String {
    let source = read(&workspace().join("examples/greeter/src/bin/sharded.rs"));
    let start = source.find("#[tokio::main]").expect("it runs on tokio");
    source[start..].to_owned()
}

/// Runs an example to its end, and gives what it prints.
fn run(label: &str, command: Command) -> Result<Vec<String>, String> {
    let mut process = Process::start(label, command, &scratch(label)?)?;
    let ended = process.wait(PATIENCE)?;
    let lines: Vec<_> = process.lines().into_iter().map(|line| line.text).collect();
    if ended.success() { Ok(lines) } else { Err(format!("{label}: {ended}, {lines:?}\n{}", process.tail())) }
}

#[test]
fn the_pages_show_the_service_that_runs_and_it_has_less_than_15_lines() {
    let shown = shown();
    assert!(shown.lines().count() < 15, "{shown}");
    for page in ["README.md", "docs/server.md"] {
        let there = blocks(page).into_iter().any(|block| block.language == "rust,ignore" && block.text == shown);
        assert!(there, "{page} does not show examples/greeter/src/bin/sharded.rs:\n{shown}");
    }
}

#[test]
fn the_page_on_clients_shows_the_client_that_runs() {
    let source = read(&workspace().join("examples/greeter/src/bin/greet.rs"));
    let start = source.find("    let seeds").expect("it says where to look");
    let end = source.find("    for name").expect("it asks for each name");
    let shown: String = source[start..end].lines().map(|line| format!("{}\n", &line[4..])).collect();
    let there = blocks("docs/client.md").into_iter().any(|block| block.text == shown);
    assert!(there, "docs/client.md does not show examples/greeter/src/bin/greet.rs:\n{shown}");
}

#[test]
fn a_replicated_state_is_alike_on_all_nodes_those_that_come_late_too() -> Tested {
    let lines = run("replicated", Command::new(env!("CARGO_BIN_EXE_replicated")))?;
    assert_eq!(lines, ["n1", "n2", "n3"].map(|node| format!("{node}: colour green, size small")));
    Ok(())
}

#[test]
fn a_former_owner_s_late_write_is_refused() -> Tested {
    let lines = run("fenced", Command::new(env!("CARGO_BIN_EXE_fenced")))?;
    let wanted = ["n1 adds 5: Ok(5)", "n2 adds 10: Ok(15)", "n1's 1000 arrive: Err(TooLate)", "n2 adds 1: Ok(16)"];
    assert_eq!(lines, wanted);
    Ok(())
}

/// The examples' cluster has one name, so it gets a host of its own.
#[test]
fn greeters_on_tokio_and_on_smol_are_one_cluster_for_a_client() -> Tested {
    with_tools("greeters_on_tokio_and_on_smol_are_one_cluster_for_a_client", &TOOLS, || {
        let mut network = Network::new()?;
        let host = network.add()?;
        let dir = scratch("greeters")?;
        let on = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments);
            network.on(host, &command)
        };
        let sharded = env!("CARGO_BIN_EXE_sharded");
        let mut nodes = vec![Process::start("first", on(sharded, &["--bootstrap"]), &dir)?];
        nodes.push(Process::start("second", on(env!("CARGO_BIN_EXE_smol"), &[]), &dir)?);
        nodes.push(Process::start("third", on(sharded, &[]), &dir)?);
        let names: Vec<_> = (0..30).map(|number| format!("guest-{number}")).collect();
        let guests: Vec<&str> = names.iter().map(String::as_str).collect();
        wait_for("greetings from all three", PATIENCE, || {
            let lines = run("greet", on(env!("CARGO_BIN_EXE_greet"), &guests))?;
            let greeted =
                names.iter().zip(&lines).all(|(name, line)| line.starts_with(&format!("hello {name}, says ")));
            if !greeted || lines.len() != names.len() {
                return Err(format!("{lines:?}"));
            }
            let mut from: Vec<_> = lines.iter().filter_map(|line| line.rsplit(' ').next()).collect();
            from.sort_unstable();
            from.dedup();
            if from.len() == 3 { Ok(()) } else { Err(format!("only {from:?} greeted")) }
        })?;
        for mut node in nodes {
            // Through `nsenter`, which becomes the program itself.
            node.signal(Signal::INT);
            let ended = node.wait(PATIENCE)?;
            assert_eq!(ended.code(), Some(0), "{}", node.tail());
        }
        Ok(())
    })
}
