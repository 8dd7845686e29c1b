//! What the README and the pages tell a newcomer to type, typed: each command
//! is taken out of the page.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use funk_tests::blackbox::cluster::GENEROUS;
use funk_tests::blackbox::namespaces::skip;
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::status::{self, Status};
use funk_tests::blackbox::{Tested, http, ports, program, scratch, wait_for, workspace};
use funk_tests::deploy::{pod_container, pod_environment, yaml, yaml_can_be_read};
use funk_tests::pages::{Step, inline_code, read, steps_for};
use rustix::process::{Pid, Signal, kill_process_group};

/// How the variables begin that a runner sets for a test.
const OF_A_PACKAGE: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "NEXTEST"];

/// Terminals with commands of a page in them.
struct Terminals {
    cluster: String,
    dir: PathBuf,
    /// Put in place of the page's addresses and directories, which others on this machine may use.
    instead: Vec<(&'static str, String)>,
    open: Vec<Process>,
}

impl Terminals {
    fn new(label: &str) -> Result<Self, String> {
        // The page says `bin/demo`; this says what to do when it is not there.
        program("demo")?;
        let dir = scratch(label)?;
        Ok(Self { cluster: format!("{label}-{}", std::process::id()), dir, instead: Vec::new(), open: Vec::new() })
    }

    /// Opens a terminal and types a command of a page. Nobody else's cluster has this one's name,
    /// and nothing of it is to be reached from outside.
    fn open(&mut self, command: &str) -> Result<&mut Process, String> {
        let mut command = command.to_owned();
        for (theirs, ours) in &self.instead {
            command = command.replace(theirs, ours);
        }
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("exec {command}")]).current_dir(workspace()).process_group(0);
        // What a test's own runner tells it of its package is not what a terminal has, and would make build scripts run anew.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name == "CARGO" || OF_A_PACKAGE.iter().any(|of| name.starts_with(of))) {
                shell.env_remove(name);
            }
        }
        shell.env("FUNK_CLUSTER_NAME", &self.cluster).env("FUNK_INTERFACE", "127.0.0.1").env("POD_IP", "127.0.0.1");
        let name = format!("{}-{}", self.open.len(), program_of(&command));
        self.open.push(Process::start(&name, shell, &self.dir)?);
        Ok(self.open.last_mut().expect("one was opened"))
    }

    /// Opens a terminal with a node in it, and waits until that may serve.
    fn node(&mut self, step: &Step) -> Result<SocketAddr, String> {
        let node = self.open(&step.command)?;
        let page = node.line("status http://", GENEROUS)?.text;
        node.line("operational", GENEROUS)?;
        address(&page)
    }
}

fn program_of(command: &str) -> String {
    let first = command.split_whitespace().find(|word| !word.contains('=')).unwrap_or_default();
    Path::new(first).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The address in `status http://HOST:PORT/`.
fn address(line: &str) -> Result<SocketAddr, String> {
    let rest = line.split_once("http://").ok_or_else(|| format!("no address in `{line}`"))?.1;
    rest.trim_end_matches('/').parse().map_err(|error| format!("`{line}`: {error}"))
}

fn voters(page: SocketAddr, wanted: usize) -> Result<(), String> {
    wait_for("the voters", GENEROUS, || {
        let status = status::fetch(&mut http::Client::new(page, Duration::from_secs(5)))?;
        let settled = status.voters() == wanted && status.serves();
        if settled { Ok(()) } else { Err(status.brief()) }
    })
}

#[test]
fn the_first_minute_of_the_readme_works() -> Tested {
    let steps = steps_for("README.md", "blackbox::quickstart::the_first_minute_of_the_readme_works");
    let mut terminals = Terminals::new("readme")?;
    let mut pages = Vec::new();
    let (nodes, rest): (Vec<Step>, Vec<Step>) =
        steps.into_iter().partition(|step| step.command.starts_with("bin/demo"));
    assert_eq!(nodes.len(), 2, "the page starts one node that bootstraps, and others alike");
    // "In other terminals": two.
    for step in [&nodes[0], &nodes[1], &nodes[1]] {
        pages.push(terminals.node(step)?);
    }
    voters(pages[0], 3)?;
    let (clients, rest): (Vec<Step>, Vec<Step>) =
        rest.into_iter().partition(|step| step.command.starts_with("bin/client"));
    assert_eq!((clients.len(), rest.len()), (1, 4), "a client, then what curl shows: {rest:?}");
    client_while_one_is_killed(&mut terminals, &clients[0])?;
    let place = pages[1].to_string();
    for step in rest {
        look(&mut terminals, &step.command.replace("HOST:PORT", &place), &nodes[1])?;
    }
    Ok(())
}

/// "Kill one with `kill -9` while the client runs": the first, which leads.
fn client_while_one_is_killed(terminals: &mut Terminals, step: &Step) -> Tested {
    let first = terminals.open[0].rustix_pid();
    let metrics = terminals.open[0].line("status http://", GENEROUS)?.text;
    let page = address(&metrics)?;
    let client = terminals.open(&step.command)?;
    wait_for("requests", GENEROUS, || {
        let metrics = http::get(page, "/metrics", GENEROUS).map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        let comes = text.lines().any(|line| line.starts_with("cf_cluster_requests{") && !line.ends_with(" 0"));
        if comes { Ok(()) } else { Err("none came yet".into()) }
    })?;
    rustix::process::kill_process(first, Signal::KILL).map_err(|error| error.to_string())?;
    let ended = client.wait(GENEROUS + Duration::from_secs(20))?;
    let said: Vec<_> = client.lines().into_iter().map(|line| line.text).collect();
    assert_eq!(ended.code(), Some(0), "nothing is lost: {said:#?}\n{}", client.tail());
    assert!(said.iter().any(|line| line.contains("NODE") || line.contains("node")), "a table: {said:#?}");
    Ok(())
}

/// What `curl` shows of a node, and of another that joins.
fn look(terminals: &mut Terminals, command: &str, another: &Step) -> Tested {
    let curl = terminals.open(command)?;
    if command.contains("/events") {
        // It goes on for ever, and says that it has begun.
        curl.line("", GENEROUS)?;
        let curl = terminals.open.len() - 1;
        terminals.node(another)?;
        let joined = wait_for("the news that a node joined", GENEROUS, || {
            let lines = terminals.open[curl].lines();
            let told = lines.iter().any(|line| line.text.starts_with("data: {") && line.text.contains("member_joined"));
            if told { Ok(()) } else { Err(format!("{lines:?}")) }
        });
        return Ok(joined?);
    }
    let ended = curl.wait(GENEROUS)?;
    assert_eq!(ended.code(), Some(0), "{command}\n{}", curl.tail());
    let said: String = curl.lines().into_iter().map(|line| line.text).collect();
    if command.contains("/status") {
        assert_eq!(Status::parse(said.as_bytes())?.shards_total, 10_000);
    }
    Ok(())
}

#[test]
fn the_demo_page_can_be_played() -> Tested {
    let steps = steps_for("docs/demo.md", "blackbox::quickstart::the_demo_page_can_be_played");
    let mut terminals = Terminals::new("demo-page")?;
    // "And in two others"; then "once more".
    let page = terminals.node(&steps[0])?;
    for _ in 0..3 {
        terminals.node(&steps[1])?;
    }
    voters(page, 3)?;
    let last = terminals.open[3].pid();
    let mut looks = http::Client::new(page, GENEROUS);
    // The one that came last leads nothing and votes for nobody.
    let of_last = terminals.open[3].line("status http://", GENEROUS)?.text;
    let id = status::fetch(&mut http::Client::new(address(&of_last)?, GENEROUS))?.node_id;
    let mut owns = |wanted: bool| {
        wait_for("the shares", GENEROUS, || {
            let shares = status::fetch(&mut looks)?.shards_of(&id);
            if (shares > 0) == wanted { Ok(()) } else { Err(format!("{id} owns {shares}")) }
        })
    };
    owns(true)?;
    let mut played = 0;
    for command in inline_code(&read(&workspace().join("docs/demo.md"))) {
        let stopped = command == "kill -STOP";
        if stopped || command == "kill -CONT" {
            let kill = terminals.open(&format!("env {command} {last}"))?;
            assert!(kill.wait(GENEROUS)?.success(), "{command}\n{}", kill.tail());
            owns(!stopped)?;
        } else if command.starts_with("bin/ctrlc ") {
            let drains = command.contains(" drain ");
            let ctrlc = terminals.open(&command.replace(" ID", &format!(" {id}")))?;
            assert!(ctrlc.wait(GENEROUS)?.success(), "{command}\n{}", ctrlc.tail());
            owns(!drains)?;
        } else {
            continue;
        }
        played += 1;
    }
    assert_eq!(played, 6, "lines of the table");
    Ok(())
}

#[test]
fn make_demo_shows_a_cluster_and_ends_on_ctrl_c() -> Tested {
    let steps = steps_for("README.md", "blackbox::quickstart::make_demo_shows_a_cluster_and_ends_on_ctrl_c");
    let mut terminals = Terminals::new("make-demo")?;
    let make = terminals.open(&steps[0].command)?;
    // Building may come first.
    let page = address(&make.line("Status page: ", GENEROUS * 30)?.text)?;
    voters(page, 3)?;
    // Ctrl-C reaches all that the terminal runs.
    kill_process_group(Pid::from_raw(make.rustix_pid().as_raw_nonzero().get()).ok_or("no group")?, Signal::INT)
        .map_err(|error| error.to_string())?;
    make.wait(GENEROUS)?;
    assert!(http::get(page, "/healthz", Duration::from_secs(1)).is_err(), "a node is left");
    Ok(())
}

#[test]
fn nodes_join_through_the_seed_of_the_page() -> Tested {
    let steps = steps_for("docs/discovery.md", "blackbox::quickstart::nodes_join_through_the_seed_of_the_page");
    let mut terminals = Terminals::new("seed-page")?;
    let (serf, page) = (ports::free()?.to_string(), ports::free()?.to_string());
    let snapshot = terminals.dir.join("snapshot").display().to_string();
    terminals.instead = vec![("10.0.0.5:7946", serf), ("127.0.0.1:8080", page), ("/var/lib/funk/seed", snapshot)];
    let seed = terminals.open(&steps[0].command)?;
    seed.line("serf ", GENEROUS)?;
    for step in &steps[1..] {
        // By the seed alone.
        let step = Step { command: format!("env FUNK_ZEROCONF=false {}", step.command), ..step.clone() };
        terminals.node(&step)?;
    }
    let seen = |what: &str| terminals.open[0].line(what, GENEROUS);
    seen("alive ")?;
    Ok(())
}

#[test]
fn a_pod_joins_by_the_service_s_name() -> Tested {
    let steps = steps_for("docs/discovery.md", "blackbox::quickstart::a_pod_joins_by_the_service_s_name");
    let mut terminals = Terminals::new("pod")?;
    let first = ports::free()?;
    let bootstrap = format!("bin/demo --bootstrap --zeroconf=false --serf-endpoint {first}");
    terminals.node(&Step { command: bootstrap, output: Vec::new() })?;
    let name = format!("localhost:{}", first.port());
    terminals.instead = vec![("$POD_IP:7946", "$POD_IP:0".into()), ("funk.default.svc.cluster.local:7946", name)];
    let page = terminals.node(&steps[0])?;
    let status = status::fetch(&mut http::Client::new(page, GENEROUS))?;
    assert_eq!(status.members.len(), 2, "{}", status.brief());
    Ok(())
}

#[test]
fn seeds_with_a_name_bring_nodes_of_a_cloud_together() -> Tested {
    let steps = steps_for(
        "docs/without-zeroconf.md",
        "blackbox::quickstart::seeds_with_a_name_bring_nodes_of_a_cloud_together",
    );
    let mut terminals = Terminals::new("cloud")?;
    let seed = ports::free()?;
    let data = terminals.dir.join("data").display().to_string();
    terminals.instead = vec![
        ("10.0.1.10:7946", seed.to_string()),
        ("10.0.1.10", "127.0.0.1".into()),
        ("seeds.funk.internal:7946", format!("localhost:{}", seed.port())),
        ("/var/lib/funk/seed", format!("{data}-seed")),
    ];
    // Nodes of one host have ports of their own.
    terminals.instead.extend([":7946", ":7947", ":7948", ":7949", ":7950"].map(|port| (port, ":0".to_owned())));
    terminals.open(&steps[0].command)?.line("serf ", GENEROUS)?;
    let node = |number: u32, bootstrap: &str| {
        let command = steps[1].command.replace("/var/lib/funk/node", &format!("{data}-{number}"));
        Step {
            command: format!("env IP=127.0.0.1 {command} {bootstrap}").replace("$IP", "127.0.0.1"),
            output: Vec::new(),
        }
    };
    let first = terminals.node(&node(1, "--bootstrap"))?;
    terminals.node(&node(2, ""))?;
    let status = status::fetch(&mut http::Client::new(first, GENEROUS))?;
    assert_eq!(status.raft_members().len(), 2, "{}", status.brief());
    Ok(())
}

#[test]
fn the_pods_of_the_stateful_set_form_a_cluster() -> Tested {
    if !yaml_can_be_read() {
        return skip("the_pods_of_the_stateful_set_form_a_cluster", "Python's module yaml is missing");
    }
    let documents = yaml("deploy/kubernetes/base/funk.yaml")?;
    let container = pod_container(&documents)?;
    let mut terminals = Terminals::new("pods")?;
    let data = terminals.dir.join("data").display().to_string();
    let first = ports::free()?;
    let mut pages = Vec::new();
    for number in 0..3 {
        let mut words = vec!["env".to_owned()];
        for (name, value) in pod_environment(container, &format!("funk-{number}"), "127.0.0.1")? {
            let value = match (name.as_str(), number) {
                ("FUNK_SERF_ENDPOINT", 0) => first.to_string(),
                ("FUNK_JOIN", _) => value.replace("funk-peers:7946", &format!("localhost:{}", first.port())),
                ("FUNK_DATA_DIR", _) => format!("{data}-{number}"),
                // Pods of one host have ports of their own, and the test reads the log.
                (name, _) if name.ends_with("_ENDPOINT") => "127.0.0.1:0".to_owned(),
                ("FUNK_LOG_FORMAT", _) => "text".to_owned(),
                _ => value,
            };
            words.push(format!("{name}={value}"));
        }
        words.push(program("demo")?.display().to_string());
        pages.push(terminals.node(&Step { command: words.join(" "), output: Vec::new() })?);
    }
    voters(pages[0], 3)?;
    Ok(())
}
