//! Real Serf agents and our nodes are members of one another.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::namespaces::{Network, with_tools};
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::serf::{Agent, Place, SERF};
use funk_tests::blackbox::status::Status;
use funk_tests::blackbox::{Tested, cluster, http, poison, program, scratch, wait_for};
use rustix::process::Signal;

const TOOLS: [&str; 4] = ["ip", "unshare", "nsenter", SERF];

/// Waits until every live node shows this gossip status for a member.
fn all_show(cluster: &mut DemoCluster, name: &str, status: &str) -> Result<(), String> {
    for node in cluster.live() {
        wait_for(&format!("n{node} to show {name} {status}"), GENEROUS * 3, || {
            let shown = cluster.status(node)?;
            let member = shown.members.get(name).ok_or("it does not know it")?;
            if member.serf == status { Ok(()) } else { Err(format!("it shows {}", member.serf)) }
        })
        .map_err(|error| format!("{error}\n{}", cluster.nodes[node].process.tail()))?;
    }
    Ok(())
}

/// Starts a node of the cluster under a name that was there before, at an address of its own choice.
fn come_back(cluster: &DemoCluster, id: &str, join: SocketAddr) -> Result<Process, String> {
    let mut command = cluster::demo_command(cluster.name())?;
    command.args(["--node-id", id, "--join", &join.to_string()]);
    Process::start(&format!("{id}-again"), command, cluster.dir())
}

/// Ends a node and waits until its process is gone.
fn end(cluster: &mut DemoCluster, node: usize, signal: Signal) -> Tested {
    cluster.nodes[node].process.signal(signal);
    cluster.nodes[node].process.wait(GENEROUS)?;
    Ok(())
}

fn with_agent(name: &str, test: impl FnOnce() -> Tested) -> Tested {
    with_tools(name, &TOOLS, test)
}

#[test]
fn an_agent_lists_all_nodes_with_their_tags_and_they_list_the_agent() -> Tested {
    with_agent("an agent among nodes", || {
        let mut cluster = DemoCluster::start("serf-join", 3)?;
        let agent = Agent::start(cluster.dir(), "agent", cluster.nodes[1].serf, &["ep.web=127.0.0.1:80", "role=web"])?;
        for node in cluster.live() {
            let status = cluster.status(node)?;
            let id = status.node_id.clone();
            let endpoints = status.members[&id].endpoints.clone();
            assert!(endpoints.len() >= 6, "{endpoints:?}");
            agent.sees(&id, "alive, with its tags", |seen| {
                let tag = |name: &str| seen.tags.get(name).cloned().unwrap_or_default();
                let all = endpoints.iter().all(|(name, at)| tag(name) == at.to_string());
                let at = seen.addr == endpoints["ep.serf"].to_string();
                seen.status == "alive"
                    && all
                    && at
                    && tag("meta.clusterName") == cluster.name()
                    && !tag("funk.id").is_empty()
            })?;
        }
        assert_eq!(agent.members()?.len(), 4);
        all_show(&mut cluster, "agent", "alive")?;
        for node in cluster.live() {
            let status = cluster.status(node)?;
            let shown = &status.members["agent"];
            assert_eq!((shown.shards, shown.raft.as_str()), (0, ""), "an agent owns nothing and votes never");
            assert_eq!(shown.endpoints["ep.web"].to_string(), "127.0.0.1:80");
        }
        // An agent comes in through another, too.
        let second = Agent::start(cluster.dir(), "second", agent.serf, &[])?;
        all_show(&mut cluster, "second", "alive")?;
        second.sees("n2", "alive", |seen| seen.status == "alive")?;
        agent.ask(&["tags", "-set", "role=db"])?;
        second.sees("agent", "with a new tag", |seen| seen.tags["role"] == "db")?;
        cluster.converged(GENEROUS)?;
        Ok(())
    })
}

#[test]
fn either_side_sees_how_the_other_goes() -> Tested {
    with_agent("deaths and leaves beside an agent", || {
        let mut cluster = DemoCluster::start("serf-go", 3)?;
        let door = cluster.nodes[0].serf;
        let watcher = Agent::start(cluster.dir(), "watcher", door, &[])?;
        let mut dies = Agent::start(cluster.dir(), "dies", door, &[])?;
        let mut leaves = Agent::start(cluster.dir(), "leaves", door, &[])?;
        for name in ["watcher", "dies", "leaves"] {
            all_show(&mut cluster, name, "alive")?;
        }
        leaves.ask(&["leave"])?;
        leaves.process.wait(GENEROUS)?;
        all_show(&mut cluster, "leaves", "left")?;
        dies.process.signal(Signal::KILL);
        dies.process.wait(GENEROUS)?;
        all_show(&mut cluster, "dies", "failed")?;

        let killed = cluster.follower()?;
        end(&mut cluster, killed, Signal::KILL)?;
        watcher.sees(&cluster.nodes[killed].id, "failed", |seen| seen.status == "failed")?;
        cluster.converged(GENEROUS)?;
        let stopped = cluster.follower()?;
        end(&mut cluster, stopped, Signal::TERM)?;
        watcher.sees(&cluster.nodes[stopped].id, "left", |seen| seen.status == "left")?;
        all_show(&mut cluster, "watcher", "alive")?;
        Ok(())
    })
}

#[test]
fn whoever_comes_back_under_its_name_from_a_new_address_is_taken_in() -> Tested {
    with_agent("a name at a new address", || {
        let mut cluster = DemoCluster::start("serf-back", 3)?;
        let door = cluster.nodes[0].serf;
        let watcher = Agent::start(cluster.dir(), "watcher", door, &[])?;
        let mut moves = Agent::start(cluster.dir(), "moves", door, &[])?;
        all_show(&mut cluster, "moves", "alive")?;
        moves.process.signal(Signal::KILL);
        moves.process.wait(GENEROUS)?;
        all_show(&mut cluster, "moves", "failed")?;
        let moved = Agent::start(cluster.dir(), "moves", door, &["ep.web=127.0.0.1:80"])?;
        assert_ne!(moved.serf, moves.serf);
        all_show(&mut cluster, "moves", "alive")?;
        let new = moved.serf.to_string();
        watcher.sees("moves", "at its new address", |seen| seen.status == "alive" && seen.addr == new)?;

        let killed = cluster.follower()?;
        let id = cluster.nodes[killed].id.clone();
        let old = cluster.nodes[killed].serf.to_string();
        end(&mut cluster, killed, Signal::KILL)?;
        watcher.sees(&id, "failed", |seen| seen.status == "failed")?;
        let live: Vec<_> = cluster.live().into_iter().map(|node| cluster.nodes[node].serf).collect();
        let back = come_back(&cluster, &id, live[0])?;
        back.line("operational", GENEROUS)?;
        watcher.sees(&id, "at its new address", |seen| seen.status == "alive" && seen.addr != old)?;
        moved.sees(&id, "at its new address", |seen| seen.status == "alive" && seen.addr != old)?;
        all_show(&mut cluster, &id, "alive")?;
        Ok(())
    })
}

/// Two nodes and an agent, each on a host of its own.
struct Hosts<'a> {
    network: &'a Network,
    nodes: [Process; 2],
    agent: Agent<'a>,
}

const SERF_PORT: u16 = 7946;
const RPC_PORT: u16 = 7373;
const AGENT: usize = 2;

fn on(host: usize, port: u16) -> SocketAddr {
    SocketAddr::from((Network::ip(host), port))
}

impl<'a> Hosts<'a> {
    fn start(network: &'a mut Network, label: &str) -> Result<Self, String> {
        let dir = scratch(label)?;
        for _ in 0..=AGENT {
            network.add()?;
        }
        let network = &*network;
        let node = |host: usize, arguments: &[&str]| {
            let (id, ip) = (format!("n{host}"), Network::ip(host).to_string());
            let mut command = Command::new(program("demo")?);
            command.env_clear().args(["--cluster-name", label, "--node-id", &id, "--interface", &ip]);
            command.args(["--zeroconf=false", "--serf-endpoint", &on(host, SERF_PORT).to_string()]).args(arguments);
            let process = Process::start(&id, network.on(host, &command), &dir)?;
            process.line("operational", GENEROUS)?;
            Ok::<_, String>(process)
        };
        let door = on(0, SERF_PORT);
        let nodes = [node(0, &["--bootstrap"])?, node(1, &["--join", &door.to_string()])?];
        let (place, at) = (Place::On(network, AGENT), (on(AGENT, SERF_PORT), on(AGENT, RPC_PORT)));
        let agent = Agent::start_at(place, at, &dir, "agent", door, &[])?;
        Ok(Self { network, nodes, agent })
    }

    /// A node's status, asked from its own host.
    fn status(&self, host: usize) -> Result<Status, String> {
        let page = cluster::page_address(&self.nodes[host].line("status ", GENEROUS)?.text)?;
        let script = "exec 3<>/dev/tcp/$0/$1; printf 'GET /api/v1/status HTTP/1.0\\r\\nhost: localhost\\r\\n\\r\\n' >&3; cat <&3";
        let mut command = Command::new("bash");
        command.args(["-c", script, &page.ip().to_string(), &page.port().to_string()]);
        let answer = Place::On(self.network, host).output(command)?;
        let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or("no HTTP answer")?;
        Status::parse(&answer[head + 4..])
    }

    /// Waits until everybody shows everybody so.
    fn all_show(&self, what: &str, fits: impl Fn(&str, &str) -> bool) -> Tested {
        let names = ["n0", "n1", "agent"];
        wait_for(what, GENEROUS * 4, || {
            let mut wrong = String::new();
            let mut look = |who: &str, whom: &str, status: Option<&str>| {
                if !status.is_some_and(|status| fits(whom, status)) {
                    wrong += &format!("{who} shows {whom} {status:?}; ");
                }
            };
            for host in 0..AGENT {
                let status = self.status(host)?;
                for name in names {
                    look(names[host], name, status.members.get(name).map(|member| member.serf.as_str()));
                }
            }
            let members = self.agent.members()?;
            for name in names {
                look("agent", name, members.get(name).map(|seen| seen.status.as_str()));
            }
            if wrong.is_empty() { Ok(()) } else { Err(wrong) }
        })
        .map_err(|error| format!("{error}\n{}", self.tails()).into())
    }

    fn tails(&self) -> String {
        format!("{}\n{}\n{}", self.nodes[0].tail(), self.nodes[1].tail(), self.agent.said())
    }

    /// Lets the agent change a tag, and waits until the nodes show it: word gets through.
    fn word_gets_through(&self, port: u16) -> Tested {
        self.agent.ask(&["tags", "-set", &format!("ep.word=10.0.0.1:{port}")])?;
        wait_for("the agent's word at the nodes", GENEROUS * 2, || {
            for host in 0..AGENT {
                let status = self.status(host)?;
                let agent = status.members.get("agent").ok_or("they do not know the agent")?;
                let heard = agent.endpoints.get("ep.word").map(SocketAddr::port);
                if heard != Some(port) {
                    return Err(format!("n{host} heard {heard:?}"));
                }
            }
            Ok(())
        })
        .map_err(|error| format!("{error}\n{}", self.tails()).into())
    }
}

#[test]
fn a_network_cut_of_five_seconds_heals_by_itself() -> Tested {
    with_agent("a network cut beside an agent", || {
        let mut network = Network::new()?;
        let hosts = Hosts::start(&mut network, "serf-cut")?;
        let all_alive = || hosts.all_show("all to show all alive", |_, status| status == "alive");
        all_alive()?;
        for (round, host) in [(1, AGENT), (2, 1)] {
            hosts.network.plug(host, false)?;
            // The length of the cut is what is tested.
            std::thread::sleep(Duration::from_secs(5));
            hosts.network.plug(host, true)?;
            hosts.word_gets_through(round)?;
            all_alive()?;
        }
        Ok(())
    })
}

#[test]
fn a_network_cut_that_all_noticed_heals_by_itself() -> Tested {
    with_agent("a long network cut beside an agent", || {
        let mut network = Network::new()?;
        let hosts = Hosts::start(&mut network, "serf-long")?;
        hosts.all_show("all to show all alive", |_, status| status == "alive")?;
        hosts.network.plug(AGENT, false)?;
        let failed = |name: &str| hosts.agent.sees(name, "failed", |seen| seen.status == "failed");
        failed("n0")?;
        failed("n1")?;
        wait_for("the nodes to miss the agent", GENEROUS * 2, || {
            let shown = (0..AGENT).map(|host| Ok(hosts.status(host)?.members["agent"].serf.clone()));
            let shown: Vec<_> = shown.collect::<Result<_, String>>()?;
            if shown == ["failed", "failed"] { Ok(()) } else { Err(format!("{shown:?}")) }
        })?;
        hosts.network.plug(AGENT, true)?;
        hosts.all_show("all to show all alive again", |_, status| status == "alive")?;
        hosts.word_gets_through(3)
    })
}

/// Gossip messages that a node dropped, whatever the reason.
fn dropped(metrics: SocketAddr) -> Result<u64, String> {
    let answer = http::get(metrics, "/metrics", Duration::from_secs(5)).map_err(|error| error.to_string())?;
    let text = answer.text();
    let lines = text.lines().filter(|line| line.starts_with("funk_gossip_dropped_total{"));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}

/// Memory in use, in kilobytes.
fn resident(process: &Process) -> Result<u64, String> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).map_err(|e| e.to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    line.trim().trim_end_matches(" kB").parse().map_err(|error| format!("{line}: {error}"))
}

/// Datagrams sent before memory is looked at, and after.
const ROUNDS: [usize; 2] = [100, 400];
const GROWTH_MAX_KB: u64 = 8 << 10;

#[test]
fn poison_is_dropped_and_counted_and_passed_on_to_nobody() -> Tested {
    with_agent("poison beside an agent", || {
        let mut cluster = DemoCluster::start("serf-poison", 3)?;
        let mut agent = Agent::start(cluster.dir(), "agent", cluster.nodes[0].serf, &[])?;
        all_show(&mut cluster, "agent", "alive")?;
        let before = cluster.converged(GENEROUS)?;
        let live = cluster.live();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        for (&node, status) in live.iter().zip(&before) {
            let (serf, metrics) = (cluster.nodes[node].serf, status.members[&status.node_id].endpoints["ep.metrics"]);
            for (what, datagram) in poison::datagrams() {
                let counted = dropped(metrics)?;
                socket.send_to(&datagram, serf).map_err(|error| format!("{what}: {error}"))?;
                wait_for(&format!("n{node} to count {what}"), GENEROUS, || {
                    if dropped(metrics)? > counted { Ok(()) } else { Err("it does not".into()) }
                })?;
            }
            socket.send_to(&poison::many_parts(), serf)?;
            socket.send_to(&poison::alive_without_versions(), serf)?;
        }
        flood(&mut cluster, &live, &socket)?;
        assert_eq!(cluster.live(), live, "a node ended:\n{}", cluster.tails(&live));
        assert!(agent.process.ended().is_none(), "the agent ended:\n{}", agent.said());
        // What wedges agents would keep this one out.
        let late = Agent::start(cluster.dir(), "late", agent.serf, &[])?;
        all_show(&mut cluster, "late", "alive")?;
        late.sees("agent", "alive", |seen| seen.status == "alive")?;
        let after = cluster.converged(GENEROUS)?;
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before.raft_members(), after.raft_members(), "nobody got in: {}", after.brief());
        }
        Ok(())
    })
}

/// Sends all poison again and again; memory does not grow by it.
fn flood(cluster: &mut DemoCluster, nodes: &[usize], socket: &UdpSocket) -> Tested {
    let datagrams = poison::datagrams();
    let mut first = Vec::new();
    for rounds in ROUNDS {
        for _ in 0..rounds {
            for (_, datagram) in &datagrams {
                for &node in nodes {
                    socket.send_to(datagram, cluster.nodes[node].serf)?;
                }
            }
        }
        // An answer from each node, which comes after all that it read.
        cluster.converged(GENEROUS)?;
        let now = nodes.iter().map(|&node| resident(&cluster.nodes[node].process));
        let now = now.collect::<Result<Vec<_>, _>>()?;
        if first.is_empty() {
            first = now;
        } else {
            println!("memory in kB before {first:?} and after {now:?}");
            let grown = first.iter().zip(&now).map(|(first, now)| now.saturating_sub(*first)).max();
            assert!(grown < Some(GROWTH_MAX_KB), "memory grew from {first:?} to {now:?} kB");
        }
    }
    Ok(())
}
