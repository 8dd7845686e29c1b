//! Three nodes on this machine, for a first look: starts them, prints the
//! address of the status page when all are Operational and each owns its
//! shards, and stops them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use funk::discovery::ask;
use funk_cli::{complain, flush, print, say};

const NODES: usize = 3;
/// Between two looks at the nodes.
const LOOK: Duration = Duration::from_millis(50);
/// Time for the nodes to find each other by mDNS, before they are told where to join.
const FIND_MAX: Duration = Duration::from_secs(2);
/// Time for all nodes to become Operational and own their shards.
const START_MAX: Duration = Duration::from_secs(30);
/// Time for a node to leave, before it is ended for good.
const STOP_MAX: Duration = Duration::from_secs(5);

struct Node {
    name: String,
    child: Child,
    status: Receiver<String>,
    url: Option<String>,
}

/// What it says of itself.
const HELP: &str = "Three demo nodes on 127.0.0.1 in this terminal, for a first look; Ctrl-C stops them

Usage: demo-cluster

The environment variable FUNK_CLUSTER_NAME names the cluster.
";

fn main() -> ExitCode {
    let code = launch();
    flush();
    code
}

fn launch() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("--help" | "-h") => {
            print(HELP);
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            complain(&format!("error: `{other}`: demo-cluster takes no arguments"));
            return ExitCode::from(2);
        }
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&stop)) {
            complain(&format!("signals cannot be caught: {error}"));
            return ExitCode::FAILURE;
        }
    }
    let mut nodes = Vec::new();
    let result = run(&mut nodes, &stop);
    let stopped = stop_all(&mut nodes);
    match result.and(stopped) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

fn run(nodes: &mut Vec<Node>, stop: &AtomicBool) -> Result<(), String> {
    let cluster = cluster_name();
    let serf = free_port().map_err(|error| format!("no free port: {error}"))?;
    let multicast = multicast_works(&cluster);
    let how = match &multicast {
        Ok(()) => "by mDNS".to_owned(),
        Err(why) => format!("by its address {serf}, since multicast does not work here ({why})"),
    };
    say(&format!("Starting three nodes on 127.0.0.1: demo-1 bootstraps, demo-2 and demo-3 find it {how}."));
    for number in 1..=NODES {
        nodes.push(start(number, &cluster, &serf, multicast.is_err())?);
    }
    let began = Instant::now();
    let mut told = multicast.is_err();
    while !settled(nodes) {
        pause(nodes, stop)?;
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        if began.elapsed() > FIND_MAX && !told {
            told = true;
            say(&format!(
                "They have not found each other after {FIND_MAX:?}: telling demo-2 and demo-3 its address {serf}."
            ));
            stop_all(&mut nodes[1..])?;
            for number in 2..=NODES {
                nodes[number - 1] = start(number, &cluster, &serf, true)?;
            }
        }
        if began.elapsed() > START_MAX {
            return Err(format!("the nodes are not all Operational and owners of shards after {START_MAX:?}"));
        }
    }
    for node in &*nodes {
        say(&format!("{} is Operational", node.name));
    }
    say(&format!("Status page: {}", nodes[0].url.as_deref().unwrap_or_default()));
    say("Ctrl-C stops all three.");
    while !stop.load(Ordering::Relaxed) {
        pause(nodes, stop)?;
    }
    Ok(())
}

/// The name that all three are told, where the user gave none.
fn cluster_name() -> String {
    std::env::var("FUNK_CLUSTER_NAME").unwrap_or_else(|_| "clusterfunk".into())
}

/// Whether a question can be put to all on this machine.
fn multicast_works(cluster: &str) -> Result<(), std::io::Error> {
    ask(Ipv4Addr::LOCALHOST, cluster, Duration::from_millis(1), |_| false).map(drop)
}

/// A port that was free a moment ago.
fn free_port() -> std::io::Result<String> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.to_string())
}

fn program() -> Result<PathBuf, String> {
    let me = std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
    Ok(me.with_file_name("demo"))
}

fn start(number: usize, cluster: &str, serf: &str, tell: bool) -> Result<Node, String> {
    let (name, program) = (format!("demo-{number}"), program()?);
    let mut command = Command::new(&program);
    command.args(["--cluster-name", cluster, "--node-id", &name, "--interface", "127.0.0.1", "--log-level", "warn"]);
    if number == 1 {
        command.args(["--bootstrap", "--serf-endpoint", serf]);
    } else if tell {
        command.args(["--join", serf]);
    }
    // A group of its own: Ctrl-C reaches only this program, which stops the nodes in order.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
    let (sender, status) = channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("status ") {
                    let _ = sender.send(url.to_owned());
                }
            }
        });
    }
    Ok(Node { name, child, status, url: None })
}

/// Waits a little; fails when a node has ended.
fn pause(nodes: &mut [Node], stop: &AtomicBool) -> Result<(), String> {
    std::thread::sleep(LOOK);
    for node in nodes {
        let ended = node.child.try_wait().map_err(|error| format!("{}: {error}", node.name))?;
        if let Some(how) = ended.filter(|_| !stop.load(Ordering::Relaxed)) {
            return Err(format!("{} ended early ({how}); stopping the others", node.name));
        }
    }
    Ok(())
}

/// Whether all nodes are Operational on one map in which each of them owns shards. A new member is Operational before it
/// owns any, and the others are Resharding while it is given some.
fn settled(nodes: &mut [Node]) -> bool {
    let mut epochs = nodes.iter_mut().map(|node| {
        let status = status_of(node)?;
        let members = status["members"].as_array()?;
        let owns = |member: &&serde_json::Value| member["shards"].as_u64() > Some(0);
        // Somebody else's node may have found the cluster too.
        let shared = members.iter().filter(owns).count() >= NODES;
        (status["state"] == "Operational" && shared).then(|| status["epoch"].as_u64())?
    });
    let Some(Some(first)) = epochs.next() else { return false };
    epochs.all(|epoch| epoch == Some(first))
}

fn status_of(node: &mut Node) -> Option<serde_json::Value> {
    if node.url.is_none() {
        node.url = Some(node.status.recv_timeout(LOOK).ok()?);
    }
    let address = node.url.as_deref()?.trim_start_matches("http://").trim_end_matches('/');
    let answer = get(address, "/api/v1/status").ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}

fn get(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn stop_all(nodes: &mut [Node]) -> Result<(), String> {
    for node in &*nodes {
        if let Some(pid) = i32::try_from(node.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // One that has ended already is no error.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
    let began = Instant::now();
    let mut result = Ok(());
    for node in nodes {
        loop {
            match node.child.try_wait() {
                Ok(Some(how)) => {
                    if !how.success() && result.is_ok() {
                        result = Err(format!("{} ended with {how}", node.name));
                    }
                    break;
                }
                Ok(None) if began.elapsed() < STOP_MAX => std::thread::sleep(LOOK / 5),
                _ => {
                    let _ = node.child.kill();
                    let _ = node.child.wait();
                    result = Err(format!("{} did not stop within {STOP_MAX:?} and was ended", node.name));
                    break;
                }
            }
        }
    }
    result
}
