//! Ends that a node did not choose: its disk fails, or it is killed. The others hear of both, of the latter from its
//! watcher, and need not miss it first.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS, demo_command};
use funk_tests::blackbox::namespaces::with_tools;
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::{Tested, program, scratch, wait_for};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

/// Files of a node whose disk is full may not grow past this: more than it
/// says on standard error, less than its log has by then.
const FULL_BYTES: u64 = 2_000;

/// The goodbyes that a node has heard.
fn goodbyes(cluster: &mut DemoCluster, node: usize) -> Result<u64, String> {
    let page = cluster.get(node, "/metrics")?.text();
    let line = page.lines().find(|line| line.starts_with("funk_goodbyes_total"));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.ok_or_else(|| format!("{line:?} is no number of goodbyes"))
}

/// Waits until a node has heard so many goodbyes.
fn heard(cluster: &mut DemoCluster, node: usize, wanted: u64) -> Result<(), String> {
    wait_for("a goodbye to be heard", GENEROUS, || match goodbyes(cluster, node)? {
        value if value >= wanted => Ok(()),
        value => Err(format!("{value} of {wanted}")),
    })
}

/// A node is killed; every other hears of it though it says nothing itself.
fn kill_and_hear(cluster: &mut DemoCluster, victim: usize) -> Result<(), String> {
    let others: Vec<usize> = cluster.live().into_iter().filter(|&node| node != victim).collect();
    let mut before = BTreeMap::new();
    for &node in &others {
        before.insert(node, goodbyes(cluster, node)?);
    }
    cluster.nodes[victim].process.signal(Signal::KILL);
    cluster.nodes[victim].process.wait(GENEROUS)?;
    others.iter().try_for_each(|node| heard(cluster, *node, before[node] + 1))
}

fn watcher(cluster: &DemoCluster, node: usize) -> Result<Pid, String> {
    cluster.nodes[node].process.child().ok_or_else(|| format!("node {node} has no watcher, or several"))
}

fn proc_of(pid: Pid, file: &str) -> PathBuf {
    Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join(file)
}

/// Waits until a process has ended, whoever collects it.
fn gone(pid: Pid) -> Result<(), String> {
    wait_for("a watcher to end", GENEROUS, || match std::fs::read_to_string(proc_of(pid, "status")) {
        Ok(status) if !status.contains("State:\tZ") => Err(status),
        _ => Ok(()),
    })
}

#[test]
fn a_node_whose_disk_is_full_says_so_says_goodbye_and_ends() -> Tested {
    let mut cluster = DemoCluster::empty("full", &["--log-level", "error"])?;
    cluster.set_durable();
    cluster.fill(3)?;
    let victim = cluster.leader()?;
    let others: Vec<_> = cluster.live().into_iter().filter(|&node| node != victim).collect();
    let full = Rlimit { current: Some(FULL_BYTES), maximum: None };
    prlimit(Some(cluster.nodes[victim].process.rustix_pid()), Resource::Fsize, full)
        .map_err(|error| error.to_string())?;
    // A member more is an entry more, for this disk too.
    let joins: Vec<_> = others.iter().map(|&node| cluster.nodes[node].serf.to_string()).collect();
    cluster.join_at(&joins.iter().map(String::as_str).collect::<Vec<_>>())?;
    let ended = cluster.nodes[victim].process.wait(GENEROUS)?;
    assert_eq!(ended.code(), Some(1));
    let said = std::fs::read_to_string(cluster.nodes[victim].process.log())?;
    let directory = cluster.data_dir(victim);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(directory.to_str().expect("text")) && said.contains("File too large"), "{said}");
    for node in others {
        heard(&mut cluster, node, 1)?;
    }
    cluster.converged(GENEROUS)?;
    Ok(())
}

#[test]
fn a_node_that_is_killed_is_told_of_by_its_watcher() -> Tested {
    let mut cluster = DemoCluster::start("watched", 5)?;
    for victim in [cluster.leader()?, cluster.follower()?] {
        if cluster.nodes[victim].process.ended().is_none() {
            let watcher = watcher(&cluster, victim)?;
            kill_and_hear(&mut cluster, victim)?;
            gone(watcher)?;
        }
    }
    cluster.converged(GENEROUS)?;
    Ok(())
}

/// A terminal and whoever stops a whole service tell all processes of it.
#[test]
fn a_watcher_is_not_ended_before_its_node() -> Tested {
    let mut cluster = DemoCluster::start("watcher-signals", 3)?;
    let victim = cluster.follower()?;
    let watcher = watcher(&cluster, victim)?;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        kill_process(watcher, signal)?;
    }
    kill_and_hear(&mut cluster, victim)?;
    gone(watcher)?;
    Ok(())
}

#[test]
fn a_watcher_that_is_killed_is_replaced() -> Tested {
    let mut cluster = DemoCluster::start("watcher-killed", 3)?;
    let victim = cluster.follower()?;
    let first = watcher(&cluster, victim)?;
    kill_process(first, Signal::KILL)?;
    // A watcher has been told by then whom to tell.
    wait_for("another watcher", GENEROUS, || {
        let log = std::fs::read_to_string(cluster.nodes[victim].process.log()).map_err(|error| error.to_string())?;
        if log.matches("a watcher tells the others").count() == 2 { Ok(()) } else { Err(log) }
    })?;
    kill_and_hear(&mut cluster, victim)?;
    Ok(())
}

/// Under load a node may be killed before the watcher that it started has run.
#[test]
fn a_watcher_that_starts_when_its_node_has_ended_tells_of_it() -> Tested {
    let peer = UdpSocket::bind("127.0.0.1:0")?;
    peer.set_read_timeout(Some(GENEROUS))?;
    let (mut node, watcher) = UnixStream::pair()?;
    let report = format!("{} 00ff\n", peer.local_addr()?);
    node.write_all(&u32::try_from(report.len())?.to_be_bytes())?;
    node.write_all(report.as_bytes())?;
    drop(node);
    let mut ended = Command::new("true").spawn()?;
    ended.wait()?;

    let mut command = Command::new(program("demo")?);
    command.arg0("funk-watcher").arg(ended.id().to_string()).env("FUNK_WATCHER", "1").stdin(OwnedFd::from(watcher));
    assert_eq!(command.status()?.code(), Some(0));
    let mut heard = [0; 16];
    let length = peer.recv(&mut heard)?;
    assert_eq!(heard[..length], [0, 0xff]);
    Ok(())
}

/// It must not keep a pipe, a socket or a file of its node open, nor the directory that this was started in.
#[test]
fn a_watcher_holds_nothing_of_its_node() -> Tested {
    // Whoever starts this test may leave files open for all that it starts.
    let inherited = files_of("self")?;
    let cluster = DemoCluster::start("watcher-holds", 1)?;
    let watcher = watcher(&cluster, 0)?;
    let of_node = files_of(&cluster.nodes[0].process.pid().to_string())?;
    assert!(of_node.iter().any(|file| file.starts_with("pipe")), "its standard output: {of_node:?}");
    let of_watcher = files_of(&watcher.as_raw_nonzero().to_string())?;
    let shared: Vec<_> = of_watcher.intersection(&of_node).filter(|file| !inherited.contains(*file)).collect();
    assert!(shared.iter().all(|file| *file == "/dev/null"), "{shared:?}");
    assert_eq!(std::fs::read_link(proc_of(watcher, "cwd"))?, Path::new("/"));
    Ok(())
}

/// What a process has open.
fn files_of(pid: &str) -> Result<BTreeSet<String>, std::io::Error> {
    let open = std::fs::read_dir(Path::new("/proc").join(pid).join("fd"))?;
    let links = open.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    Ok(links.map(|link| link.display().to_string()).collect())
}

#[test]
fn a_node_that_leaves_takes_its_watcher_along() -> Tested {
    let mut cluster = DemoCluster::start("watcher-leaves", 3)?;
    let node = cluster.follower()?;
    let watcher = watcher(&cluster, node)?;
    cluster.nodes[node].process.signal(Signal::TERM);
    assert_eq!(cluster.nodes[node].process.wait(GENEROUS)?.code(), Some(0));
    gone(watcher)?;
    cluster.converged(GENEROUS)?;
    Ok(())
}

/// All other processes of a container end with its first.
#[test]
fn the_first_process_of_a_container_works_without_a_watcher() -> Tested {
    with_tools("a process that is the first of its container", &["unshare"], || {
        let node = demo_command("container")?;
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.arg(node.get_program()).args(node.get_args()).args(["--bootstrap", "--log-level", "info"]);
        let process = Process::start("first", command, &scratch("container")?)?;
        process.line("operational", GENEROUS)?;
        let log = std::fs::read_to_string(process.log())?;
        assert!(log.contains("no watcher"), "{log}");
        Ok(())
    })
}
