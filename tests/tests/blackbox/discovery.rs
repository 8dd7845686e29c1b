//! Nodes find each other: by multicast DNS on one host and between hosts, and
//! by addresses that work only later.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use funk_tests::blackbox::cluster::{GENEROUS, wait_for_log};
use funk_tests::blackbox::namespaces::{Network, TOOLS, is_root, skip, with_tools};
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::status::Status;
use funk_tests::blackbox::{Tested, cluster, http, program, scratch, status, wait_for};
use rustix::process::Signal;

/// A cluster whose nodes are told nothing but its name.
struct Nodes {
    name: String,
    dir: PathBuf,
}

impl Nodes {
    fn new(label: &str) -> Result<Self, String> {
        // Others on this machine may look for nodes too.
        let name = format!("{label}-{}", std::process::id());
        Ok(Self { name, dir: scratch(label)? })
    }

    fn command(&self, id: &str, arguments: &[&str]) -> Result<Command, String> {
        let mut command = Command::new(program("demo")?);
        command.env_clear().args(["--cluster-name", &self.name, "--node-id", id]).args(arguments);
        Ok(command)
    }

    /// Starts a node on the loopback address.
    fn start(&self, id: &str, arguments: &[&str]) -> Result<Process, String> {
        let mut command = self.command(id, arguments)?;
        command.args(["--interface", "127.0.0.1"]);
        Process::start(id, command, &self.dir)
    }

    /// Starts a node on a host of its own, on the interface that it chooses itself.
    fn start_on(&self, network: &Network, host: usize, id: &str, arguments: &[&str]) -> Result<Process, String> {
        Process::start(id, network.on(host, &self.command(id, arguments)?), &self.dir)
    }
}

fn status_of(node: &Process) -> Result<Status, String> {
    let page = cluster::page_address(&node.line("status ", GENEROUS)?.text)?;
    status::fetch(&mut http::Client::new(page, Duration::from_secs(2)))
}

/// Waits until all serve as one cluster of this many members.
fn together(nodes: &[&Process], members: usize) -> Tested {
    for node in nodes {
        node.line("operational", GENEROUS)?;
    }
    wait_for("one cluster", GENEROUS, || {
        for node in nodes {
            let status = status_of(node)?;
            if status.members.len() != members || !status.serves() {
                return Err(status.brief());
            }
        }
        Ok(())
    })?;
    Ok(())
}

fn ends_with_code_1(node: &mut Process) -> Result<String, String> {
    let ended = node.wait(GENEROUS)?;
    let log = std::fs::read_to_string(node.log()).map_err(|error| error.to_string())?;
    if ended.code() != Some(1) {
        return Err(format!("{} ended with {ended}:\n{log}", node.name()));
    }
    log.lines().last().map(str::to_owned).ok_or_else(|| "it said nothing".into())
}

#[test]
fn plain_nodes_find_a_bootstrap_on_one_host_and_one_another() -> Tested {
    let nodes = Nodes::new("mdns")?;
    // The first two are there before there is a cluster: they wait and are found.
    let early = nodes.start("early", &[])?;
    let other = nodes.start("other", &["--runtime", "smol"])?;
    early.line("status ", GENEROUS)?;
    let first = nodes.start("first", &["--bootstrap"])?;
    let late = nodes.start("late", &[])?;
    together(&[&first, &early, &other, &late], 4)
}

#[test]
fn a_client_finds_the_cluster_without_an_address() -> Tested {
    let nodes = Nodes::new("mdns-client")?;
    let first = nodes.start("first", &["--bootstrap"])?;
    together(&[&first], 1)?;
    let client = |name: &str, more: &[&str]| {
        let mut command = Command::new(program("client")?);
        command.env_clear().args(["--repeats", "20", "--cluster-name", name]).args(more);
        command.output().map_err(|error| error.to_string())
    };
    let output = client(&nodes.name, &[])?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("first"), "{output:?}");
    let output = client("nobody-at-all", &[])?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("--join"), "{output:?}");
    let output = client(&nodes.name, &["--zeroconf=false"])?;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    Ok(())
}

#[test]
fn ctrlc_passes_over_nodes_that_are_not_in_the_cluster() -> Tested {
    let nodes = Nodes::new("mdns-ctrlc")?;
    let ctrlc = |arguments: &[&str]| {
        let mut command = Command::new(program("ctrlc")?);
        command.env_clear().args(["-n", &nodes.name, "--output", "json"]).args(arguments);
        command.output().map_err(|error| error.to_string())
    };
    let observer = nodes.start("a-observer", &["--non-member"])?;
    observer.line("status ", GENEROUS)?;
    let output = ctrlc(&["status"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("in cluster {} was found, only a-observer", nodes.name)), "{output:?}");

    let waiting = nodes.start("b-waits", &[])?;
    waiting.line("status ", GENEROUS)?;
    let first = nodes.start("first", &["--bootstrap", "--auto-join=false"])?;
    first.line("operational", GENEROUS)?;
    // Who answers first is chance.
    for _ in 0..5 {
        let output = ctrlc(&["status"])?;
        let json: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!((json["leader"].as_str(), output.stderr.as_slice()), (Some("first"), &b""[..]), "{json}");
    }
    wait_for("the cluster to see who waits", GENEROUS, || {
        let seen = status_of(&first)?.members.contains_key("b-waits");
        if seen { Ok(()) } else { Err("it is not there".into()) }
    })?;
    let output = ctrlc(&["node", "add", "b-waits"])?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    waiting.line("operational", GENEROUS)?;
    Ok(())
}

#[test]
fn a_second_bootstrap_that_finds_the_first_is_refused() -> Tested {
    let nodes = Nodes::new("mdns-second")?;
    let first = nodes.start("first", &["--bootstrap"])?;
    together(&[&first], 1)?;
    let mut second = nodes.start("second", &["--bootstrap"])?;
    let line = ends_with_code_1(&mut second)?;
    assert!(line.contains("first") && line.contains("--bootstrap"), "{line}");
    assert!(second.lines().iter().all(|line| line.text != "operational"));
    together(&[&first], 1)
}

#[test]
fn two_bootstraps_at_one_moment_name_both_clusters_and_so_does_a_refused_joiner() -> Tested {
    let nodes = Nodes::new("mdns-race")?;
    let first = nodes.start("first", &["--bootstrap"])?;
    let second = nodes.start("second", &["--bootstrap"])?;
    first.line("operational", GENEROUS)?;
    second.line("operational", GENEROUS)?;
    let mut told = Vec::new();
    for node in [&first, &second] {
        wait_for_log(node.log(), "two clusters have this name")?;
        let log = std::fs::read_to_string(node.log())?;
        let line = log.lines().find(|line| line.contains("two clusters have this name")).unwrap_or_default();
        let id = |key: &str| {
            let value = line.split_once(key)?.1.trim_start_matches('"');
            Some(value.chars().take_while(char::is_ascii_hexdigit).collect::<String>())
        };
        told.push((id("ours=").ok_or(line)?, id("theirs=").ok_or(line)?));
    }
    assert_eq!(told[0], (told[1].1.clone(), told[1].0.clone()), "each names both");
    let mut joiner = nodes.start("joiner", &[])?;
    let line = ends_with_code_1(&mut joiner)?;
    assert!(line.contains(&told[0].0) && line.contains(&told[0].1), "{line}: names {told:?}");
    for node in [&first, &second] {
        assert!(status_of(node)?.serves(), "both go on");
    }
    Ok(())
}

#[test]
fn clusters_of_different_names_do_not_mix() -> Tested {
    let (one, other) = (Nodes::new("mdns-one")?, Nodes::new("mdns-other")?);
    let nodes = [one.start("a", &["--bootstrap"])?, one.start("b", &[])?];
    let others = [other.start("a", &["--bootstrap"])?, other.start("b", &[])?];
    together(&[&nodes[0], &nodes[1]], 2)?;
    together(&[&others[0], &others[1]], 2)
}

#[test]
fn ten_that_start_at_one_moment_find_the_cluster() -> Tested {
    let nodes = Nodes::new("mdns-ten")?;
    let first = nodes.start("n0", &["--bootstrap"])?;
    let mut all = vec![first];
    for number in 1..=10 {
        all.push(nodes.start(&format!("n{number}"), &[])?);
    }
    together(&all.iter().collect::<Vec<_>>(), 11)
}

#[test]
fn a_join_address_where_nobody_is_is_told_and_works_once_somebody_is_there() -> Tested {
    let nodes = Nodes::new("late-address")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (serf, alone) = (listener.local_addr()?.to_string(), "--zeroconf=false");
    drop(listener);
    let joiner = nodes.start("joiner", &[alone, "--join", &serf, "--join", "no-such-host.invalid:7946"])?;
    wait_for_log(joiner.log(), &format!("address={serf}"))?;
    wait_for_log(joiner.log(), "no-such-host.invalid")?;
    let first = nodes.start("first", &[alone, "--bootstrap", "--serf-endpoint", &serf])?;
    together(&[&first, &joiner], 2)
}

#[test]
fn a_program_joins_the_addresses_that_it_prints_and_what_else_it_does_is_told_once() -> Tested {
    let nodes = Nodes::new("by-program")?;
    let first = nodes.start("first", &["--zeroconf=false", "--bootstrap"])?;
    let address = status_of(&first)?.members["first"].endpoints["ep.serf"];
    let (program, output, runs) = (nodes.dir.join("peers"), nodes.dir.join("output"), nodes.dir.join("runs"));
    std::fs::write(&output, "no instance has this tag\n")?;
    let script = format!("#!/bin/sh\necho >>{}\ncat {}\n", runs.display(), output.display());
    std::fs::write(&program, script)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let join = format!("exec://{}", program.display());
    let joiner = nodes.start("joiner", &["--zeroconf=false", "--join", &join])?;
    let complaint = "no instance has this tag";
    wait_for_log(joiner.log(), complaint)?;
    wait_for("a third run", GENEROUS, || match std::fs::read(&runs) {
        Ok(runs) if runs.len() >= 3 => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    std::fs::write(&output, format!("{address}\n"))?;
    together(&[&first, &joiner], 2)?;
    let log = std::fs::read_to_string(joiner.log())?;
    assert_eq!(log.matches(complaint).count(), 1, "{log}");
    Ok(())
}

#[test]
fn a_name_joins_the_addresses_that_it_has() -> Tested {
    let nodes = Nodes::new("by-name")?;
    let first = nodes.start("first", &["--zeroconf=false", "--bootstrap"])?;
    let port = status_of(&first)?.members["first"].endpoints["ep.serf"].port();
    let joiner = nodes.start("joiner", &["--zeroconf=false", "--join", &format!("localhost:{port}")])?;
    together(&[&first, &joiner], 2)
}

#[test]
fn nodes_on_different_hosts_find_each_other() -> Tested {
    with_tools("nodes on different hosts", &TOOLS, || {
        let nodes = Nodes::new("mdns-hosts")?;
        let mut network = Network::new()?;
        for _ in 0..3 {
            network.add()?;
        }
        let first = nodes.start_on(&network, 0, "h0", &["--bootstrap"])?;
        let second = nodes.start_on(&network, 1, "h1", &[])?;
        let third = nodes.start_on(&network, 2, "h2", &[])?;
        for (host, node) in [&first, &second, &third].into_iter().enumerate() {
            let line = node.line("status ", GENEROUS)?.text;
            assert!(line.contains(&Network::ip(host).to_string()), "the address that others reach: {line}");
            node.line("operational", GENEROUS)?;
        }
        let mut rival = nodes.start_on(&network, 2, "rival", &["--bootstrap"])?;
        ends_with_code_1(&mut rival)?;
        Ok(())
    })
}

/// The launcher's words on a host where questions by multicast end at this hook of the packet filter.
fn launch_without_multicast(hook: &str) -> Result<Vec<String>, String> {
    let mut network = Network::new()?;
    let host = network.add()?;
    network.run_on(host, &["nft", "add table inet t"])?;
    network.run_on(host, &["nft", &format!("add chain inet t c {{ type filter hook {hook} priority 0; }}")])?;
    network.run_on(host, &["nft", "add rule inet t c ip daddr 224.0.0.251 drop"])?;
    let mut command = Command::new(program("demo-cluster")?);
    command.env("FUNK_CLUSTER_NAME", "no-multicast");
    let dir = scratch(&format!("no-multicast-{hook}"))?;
    let mut launcher = Process::start("demo-cluster", network.on(host, &command), &dir)?;
    launcher.line("Status page: ", GENEROUS)?;
    launcher.signal(Signal::INT);
    let ended = launcher.wait(GENEROUS)?;
    if ended.code() != Some(0) {
        return Err(launcher.tail());
    }
    Ok(launcher.lines().into_iter().map(|line| line.text).collect())
}

const NFT_TOOLS: [&str; 4] = ["ip", "unshare", "nsenter", "nft"];

#[test]
fn the_launcher_tells_the_address_where_multicast_does_not_work() -> Tested {
    with_tools("a host without multicast", &NFT_TOOLS, || {
        let lines = launch_without_multicast("output")?;
        assert!(lines[0].contains("multicast does not work"), "{lines:?}");
        Ok(())
    })
}

#[test]
fn the_launcher_tells_the_address_where_multicast_gets_lost() -> Tested {
    with_tools("a host that loses multicast", &NFT_TOOLS, || {
        let lines = launch_without_multicast("input")?;
        assert!(lines[0].contains("by mDNS") && lines[1].contains("its address"), "{lines:?}");
        Ok(())
    })
}

/// One line of `avahi-browse -p`: name, address, port, text.
type Seen = (String, String, u16, Vec<String>);

/// What Avahi on a host of its own sees.
struct Avahi {
    host: usize,
    _bus: Process,
    _daemon: Process,
}

const BUS: &str = "unix:abstract=funk-test-bus";
const AVAHI_TOOLS: [&str; 6] = ["ip", "unshare", "nsenter", "dbus-daemon", "avahi-daemon", "avahi-browse"];

impl Avahi {
    fn start(network: &mut Network, nodes: &Nodes) -> Result<Self, String> {
        let host = network.add()?;
        let write = |name: &str, text: String| {
            let path = nodes.dir.join(name);
            std::fs::write(&path, text).map_err(|error| error.to_string())?;
            Ok::<_, String>(path.display().to_string())
        };
        let rules = "<policy context=\"default\"><allow send_destination=\"*\"/><allow receive_sender=\"*\"/>\
                     <allow own=\"*\"/><allow user=\"*\"/></policy>";
        let bus = format!("<busconfig><type>custom</type><listen>{BUS}</listen>{rules}</busconfig>");
        let bus = write("bus.conf", bus)?;
        let mut command = Command::new("dbus-daemon");
        command.args(["--nofork", "--nopidfile", "--print-address=1", "--config-file", &bus]);
        let bus = Process::start("dbus", network.on(host, &command), &nodes.dir)?;
        // It prints its address once it listens there. An Avahi that finds no bus ends at once.
        bus.line("unix:", GENEROUS)?;
        let settings =
            "[server]\nhost-name=watcher\nuse-ipv6=no\nratelimit-interval-usec=0\n[publish]\ndisable-publishing=yes\n";
        let settings = write("avahi.conf", settings.into())?;
        // Its own /run: there may be another Avahi on this machine.
        let script = format!(
            "mount -t tmpfs none /run && mkdir /run/avahi-daemon && \
             exec avahi-daemon --no-drop-root --no-chroot --no-rlimits --file {settings}"
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "sh", "-c", &script]).env("DBUS_SYSTEM_BUS_ADDRESS", BUS);
        let daemon = Process::start("avahi", network.on(host, &command), &nodes.dir)?;
        Ok(Self { host, _bus: bus, _daemon: daemon })
    }

    /// The instances of this cluster, in order.
    fn browse(&self, network: &Network, cluster: &str) -> Result<Vec<Seen>, String> {
        let mut command = Command::new("avahi-browse");
        command.args(["-rpt", "_clusterfunk._udp"]).env("DBUS_SYSTEM_BUS_ADDRESS", BUS);
        let output = network.on(self.host, &command).output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let mut seen: Vec<_> =
            text.lines().filter_map(read_browsed).filter(|seen| seen.0.starts_with(cluster)).collect();
        seen.sort();
        seen.dedup();
        Ok(seen)
    }
}

fn read_browsed(line: &str) -> Option<Seen> {
    let fields: Vec<_> = line.splitn(10, ';').collect();
    let ["=", _, _, name, "_clusterfunk._udp", "local", _, address, port, text] = fields[..] else { return None };
    let mut text: Vec<_> = text.trim_matches('"').split("\" \"").map(str::to_owned).collect();
    text.sort();
    Some((name.to_owned(), address.to_owned(), port.parse().ok()?, text))
}

#[test]
fn avahi_lists_the_nodes_under_their_names_until_they_stop() -> Tested {
    if !is_root() {
        return skip("what Avahi sees", "Avahi gives its directory to a user of its own, which only root can");
    }
    with_tools("what Avahi sees", &AVAHI_TOOLS, || {
        let nodes = Nodes::new("mdns-avahi")?;
        let mut network = Network::new()?;
        let (one, two) = (network.add()?, network.add()?);
        let avahi = Avahi::start(&mut network, &nodes)?;
        let fixed = [
            "--serf-endpoint",
            "10.77.0.1:7946",
            "--demo-endpoint",
            "10.77.0.1:7000",
            "--bootstrap",
            "--management-endpoint",
            "10.77.0.1:7100",
        ];
        let mut first = nodes.start_on(&network, one, "a", &fixed)?;
        let fixed = [
            "--serf-endpoint",
            "10.77.0.2:7947",
            "--demo-endpoint",
            "10.77.0.2:7001",
            "--management-endpoint",
            "10.77.0.2:7101",
        ];
        let mut second = nodes.start_on(&network, two, "b", &fixed)?;
        let text = vec!["name=clusterfunk cluster node".to_owned(), "txtv=0".to_owned()];
        let entry = |kind: &str, node: &str, ip: &str, port: u16| {
            (format!("{}_{kind}_{node}", nodes.name), ip.to_owned(), port, text.clone())
        };
        let of_first = [
            entry("mgmt", "a", "10.77.0.1", 7100),
            entry("serf", "a", "10.77.0.1", 7946),
            entry("svc", "a", "10.77.0.1", 7000),
        ];
        let of_second = [
            entry("mgmt", "b", "10.77.0.2", 7101),
            entry("serf", "b", "10.77.0.2", 7947),
            entry("svc", "b", "10.77.0.2", 7001),
        ];
        let mut both: Vec<_> = of_first.iter().chain(&of_second).cloned().collect();
        both.sort();
        let listed = |what: &str, expected: &[Seen]| {
            wait_for(what, GENEROUS, || {
                let seen = avahi.browse(&network, &nodes.name)?;
                if seen == expected { Ok(()) } else { Err(format!("{seen:?} is not {expected:?}")) }
            })
        };
        listed("both nodes in Avahi's list", &both)?;
        second.line("operational", GENEROUS)?;
        second.signal(Signal::TERM);
        assert_eq!(second.wait(GENEROUS)?.code(), Some(0), "{}", second.tail());
        listed("the second to leave the list", &of_first)?;
        first.signal(Signal::INT);
        assert_eq!(first.wait(GENEROUS)?.code(), Some(0), "{}", first.tail());
        listed("the list to be empty", &[])?;
        Ok(())
    })
}
