//! What operators are told, by clusters of one, three and five nodes: of the demo's processes, and of nodes that a program
//! of its own embeds.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use funk_io::discovery::JoinAddress;
use funk_proto::Participation;
use funk_rpc::{Node, NodeBuilder};
use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS, demo_command};
use funk_tests::blackbox::namespaces::skip;
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::{Tested, http, ports, program, scratch, wait_for};
use funk_tokio::Tokio;
use rustix::process::Signal;
use serde_json::Value;

const SIZES: [usize; 3] = [1, 3, 5];
const MANAGEMENT: &str = "ep.clusterfunk.management";

/// A cluster as an operator sees it. The first node's gossip address stays what it is.
trait Managed {
    fn name(&self) -> String;
    /// The first node's gossip address.
    fn join(&self) -> String;
    fn ids(&self) -> Vec<String>;
    fn page(&mut self, node: usize) -> Result<SocketAddr, String>;
    /// Kills all nodes; the first one is started again with what it stored.
    fn lose_all_but_the_first(&mut self) -> Tested;
    /// A node is killed, and another process has its name and no identity: none that becomes a voter again.
    fn put_an_observer_in_place_of(&mut self, node: usize) -> Tested;
    /// A node that only observes; its management endpoint, and its page.
    fn observe(&mut self) -> Result<(SocketAddr, SocketAddr), String>;

    fn status(&mut self, node: usize) -> Result<Value, String> {
        let page = self.page(node)?;
        status(page)
    }

    /// `ctrlc`, through the first node.
    fn ctrlc(&self, arguments: &[&str]) -> Result<Output, String> {
        ctrlc(&[arguments, &["-n", &self.name(), "--join", &self.join(), "--timeout", "20s"]].concat())
    }
}

fn ctrlc(arguments: &[&str]) -> Result<Output, String> {
    let mut command = Command::new(program("ctrlc")?);
    command.env_clear().args(arguments).output().map_err(|error| error.to_string())
}

fn status(page: SocketAddr) -> Result<Value, String> {
    let answer = http::get(page, "/api/v1/status", GENEROUS).map_err(|error| error.to_string())?;
    serde_json::from_str(&answer.text()).map_err(|error| error.to_string())
}

fn member<'a>(status: &'a Value, id: &str) -> Option<&'a Value> {
    status["members"].as_array()?.iter().find(|member| member["id"] == id)
}

/// Both outputs of a command.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn line_of(output: &Output, id: &str) -> String {
    said(output).lines().find(|line| line.starts_with(id)).unwrap_or_default().to_owned()
}

struct Demo {
    cluster: DemoCluster,
    observers: Vec<Process>,
}

impl Managed for Demo {
    fn name(&self) -> String {
        self.cluster.name().to_owned()
    }

    fn join(&self) -> String {
        self.cluster.nodes[0].serf.to_string()
    }

    fn ids(&self) -> Vec<String> {
        self.cluster.nodes.iter().map(|node| node.id.clone()).collect()
    }

    fn page(&mut self, node: usize) -> Result<SocketAddr, String> {
        self.cluster.page(node)
    }

    fn lose_all_but_the_first(&mut self) -> Tested {
        for node in &mut self.cluster.nodes {
            node.process.signal(Signal::KILL);
            node.process.wait(GENEROUS)?;
        }
        // Every endpoint but gossip is somewhere else now.
        self.cluster.start_again(0)?;
        Ok(())
    }

    fn put_an_observer_in_place_of(&mut self, node: usize) -> Tested {
        let process = &mut self.cluster.nodes[node].process;
        process.signal(Signal::KILL);
        process.wait(GENEROUS)?;
        self.cluster.set_extra(&["--non-member", "--join", &self.join()]);
        self.cluster.start_again(node)?;
        Ok(())
    }

    fn observe(&mut self) -> Result<(SocketAddr, SocketAddr), String> {
        let management = ports::free()?;
        let page = ports::free()?;
        let mut command = demo_command(self.cluster.name())?;
        command.args(["--node-id", "observer", "--non-member", "--join", &self.join()]);
        command.args(["--management-endpoint", &management.to_string(), "--http-endpoint", &page.to_string()]);
        let process = Process::start("observer", command, self.cluster.dir())?;
        process.line("status ", GENEROUS)?;
        self.observers.push(process);
        Ok((management, page))
    }
}

struct Embedded {
    name: String,
    folder: PathBuf,
    runtime: tokio::runtime::Runtime,
    nodes: Vec<Node<Tokio>>,
    observers: Vec<Node<Tokio>>,
    size: usize,
    join: SocketAddr,
}

impl Embedded {
    fn start(label: &str, size: usize) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let mut cluster = Self {
            name: label.to_owned(),
            folder: scratch(label)?,
            runtime: runtime.map_err(|error| error.to_string())?,
            nodes: Vec::new(),
            observers: Vec::new(),
            size,
            join: ports::free()?,
        };
        for number in 0..size {
            cluster.start_node(number, number == 0)?;
        }
        Ok(cluster)
    }

    fn builder(&self, id: &str) -> Result<NodeBuilder<Tokio>, String> {
        let name = self.name.parse().map_err(|_| "the cluster's name is none")?;
        let builder = NodeBuilder::new(name).interface(Ipv4Addr::LOCALHOST.into()).mdns(false);
        Ok(builder.name(id.parse().map_err(|_| "the node's name is none")?))
    }

    fn start_node(&mut self, number: usize, bootstrap: bool) -> Result<(), String> {
        let id = format!("e{number}");
        let mut builder = self.builder(&id)?.data_dir(self.folder.join(&id)).bootstrap(bootstrap);
        builder = match number {
            0 => builder.listen("ep.serf", self.join),
            _ => builder.join([JoinAddress::Address(self.join)]),
        };
        let _inside = self.runtime.enter();
        self.nodes.push(builder.start().map_err(|error| error.to_string())?);
        Ok(())
    }
}

impl Managed for Embedded {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn join(&self) -> String {
        self.join.to_string()
    }

    fn ids(&self) -> Vec<String> {
        (0..self.size).map(|number| format!("e{number}")).collect()
    }

    fn page(&mut self, node: usize) -> Result<SocketAddr, String> {
        Ok(self.nodes.get(node).ok_or("no such node")?.page())
    }

    fn lose_all_but_the_first(&mut self) -> Tested {
        // A node that is dropped says nothing to its peers; the runtime outlives it.
        for node in std::mem::take(&mut self.nodes) {
            let _inside = self.runtime.enter();
            drop(node);
        }
        wait_for("its address and its directory to be free", GENEROUS, || self.start_node(0, false))?;
        Ok(())
    }

    fn put_an_observer_in_place_of(&mut self, node: usize) -> Tested {
        let builder = self.builder(&self.ids()[node])?.participation(Participation::NonMember);
        let builder = builder.join([JoinAddress::Address(self.join)]);
        let _inside = self.runtime.enter();
        drop(self.nodes.remove(node));
        self.nodes.insert(node, builder.start().map_err(|error| error.to_string())?);
        Ok(())
    }

    fn observe(&mut self) -> Result<(SocketAddr, SocketAddr), String> {
        let builder = self.builder("observer")?.participation(Participation::NonMember);
        let builder = builder.join([JoinAddress::Address(self.join)]);
        let _inside = self.runtime.enter();
        let node = builder.start().map_err(|error| error.to_string())?;
        let at = (node.address(MANAGEMENT).ok_or("no management endpoint")?, node.page());
        self.observers.push(node);
        Ok(at)
    }
}

/// Adds an observer, and waits until it sees the whole cluster. Where its management and its page are.
fn observed(cluster: &mut dyn Managed) -> Result<(SocketAddr, SocketAddr), String> {
    let (management, page) = cluster.observe()?;
    wait_for("the observer to see the cluster", GENEROUS, || {
        let seen = status(page)?["members"].as_array().map_or(0, Vec::len);
        if seen > cluster.ids().len() { Ok(()) } else { Err(format!("{seen} seen")) }
    })?;
    Ok((management, page))
}

/// Waits until all are in, and each owns shards.
fn whole(cluster: &mut dyn Managed) -> Tested {
    let size = cluster.ids().len();
    for node in 0..size {
        wait_for("a cluster that is whole", GENEROUS, || {
            let status = cluster.status(node)?;
            let members = status["members"].as_array().cloned().unwrap_or_default();
            let owning = members.iter().filter(|member| member["shards"].as_u64() > Some(0));
            let voting = members.iter().filter(|member| member["raft"] == "Voter");
            let (owning, voting) = (owning.count(), voting.count());
            // A node that was started again shows the members of its log before it is one of them.
            if owning == size && voting == size && status["leader"] != "" && status["state"] == "Operational" {
                Ok(())
            } else {
                Err(format!("{owning} own shards and {voting} vote, of {size}; {}", status["state"]))
            }
        })?;
    }
    Ok(())
}

/// Both kinds of clusters, of each size.
fn on_each(label: &str, durable: bool, check: impl Fn(&mut dyn Managed) -> Tested) -> Tested {
    for size in SIZES {
        let mut cluster = DemoCluster::empty(&format!("{label}-{size}"), &[])?;
        if durable {
            cluster.set_durable();
        }
        cluster.fill(size)?;
        let mut demo = Demo { cluster, observers: Vec::new() };
        whole(&mut demo)?;
        check(&mut demo)?;
        drop(demo);
        let mut embedded = Embedded::start(&format!("{label}-in-{size}"), size)?;
        whole(&mut embedded)?;
        check(&mut embedded)?;
    }
    Ok(())
}

#[test]
fn plans_and_pins_for_nodes_that_are_not_there_are_refused_by_name() -> Tested {
    on_each("operators-unknown", false, |cluster| {
        for asked in
            [["--plan", "pin=0-9,n99"], ["--plan", "remove=n99"], ["--plan", "drain=n99"], ["--plan", "weight=n99,2"]]
        {
            let output = cluster.ctrlc(&["shards", asked[0], asked[1]])?;
            assert!(output.status.code() == Some(1) && said(&output).contains("n99"), "{asked:?}: {}", said(&output));
        }
        let output = cluster.ctrlc(&["shards", "--pin", "0-9,n99"])?;
        assert!(output.status.code() == Some(1) && said(&output).contains("n99"), "{}", said(&output));
        Ok(())
    })
}

#[test]
fn a_drained_node_is_marked_everywhere_and_pins_to_it_are_remarked() -> Tested {
    on_each("operators-drained", false, |cluster| {
        let ids = cluster.ids();
        let Some(id) = ids.last().filter(|_| ids.len() > 1) else {
            let output = cluster.ctrlc(&["node", "drain", &ids[0]])?;
            assert_eq!(output.status.code(), Some(1), "nobody is there to take its shards: {}", said(&output));
            let status = cluster.status(0)?;
            assert!(member(&status, &ids[0]).is_some_and(|own| own["funk_drained"] != true), "{status}");
            return Ok(());
        };
        let output = cluster.ctrlc(&["node", "drain", id])?;
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        for node in 0..ids.len() {
            wait_for("every node to show it", GENEROUS, || {
                let status = cluster.status(node)?;
                let drained = member(&status, id).map(|member| member["funk_drained"].clone());
                if drained == Some(Value::Bool(true)) { Ok(()) } else { Err(format!("{drained:?}")) }
            })?;
        }
        for command in ["nodes", "shards"] {
            let output = cluster.ctrlc(&[command])?;
            assert!(line_of(&output, id).contains("drained"), "{command}: {}", said(&output));
            assert!(!line_of(&output, &ids[0]).contains("drained"), "{command}: {}", said(&output));
        }
        for asked in [["--plan", &format!("pin=0-9,{id}")], ["--pin", &format!("0-9,{id}")]] {
            let output = cluster.ctrlc(&["shards", asked[0], asked[1]])?;
            assert!(said(&output).contains(&format!("{id} is drained")), "{asked:?}: {}", said(&output));
        }
        Ok(())
    })
}

#[test]
fn the_word_of_an_observer_is_marked_as_such() -> Tested {
    on_each("operators-observer", false, |cluster| {
        let (management, _) = observed(cluster)?;
        for command in [&["status"][..], &["nodes"], &["shards"], &["endpoints"]] {
            let output = ctrlc(&[command, &["-e", &management.to_string()]].concat())?;
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(error.contains("observer is in no cluster"), "{command:?}: {}", said(&output));
        }
        let output = cluster.ctrlc(&["status"])?;
        assert!(output.stderr.is_empty() && output.status.success(), "{}", said(&output));
        Ok(())
    })
}

/// The status code of a page's answer to a request for this host.
fn asked_as(page: SocketAddr, host: &str) -> Result<u16, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(page)?;
        stream.set_read_timeout(Some(GENEROUS))?;
        write!(stream, "GET /api/v1/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = ask().map_err(|error| error.to_string())?;
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.ok_or_else(|| format!("no status in {answer:?}"))
}

#[test]
fn every_page_refuses_names_that_nobody_gave_it() -> Tested {
    on_each("operators-hosts", false, |cluster| {
        for node in 0..cluster.ids().len() {
            let page = cluster.page(node)?;
            for host in [page.to_string(), "127.0.0.1".into(), format!("localhost:{}", page.port()), "[::1]".into()] {
                assert_eq!(asked_as(page, &host)?, 200, "{host}");
            }
            for host in ["attacker.example", "127.0.0.1.attacker.example:80", "localhost.attacker.example", "funk"] {
                assert_ne!(asked_as(page, host)?, 200, "{host}");
            }
        }
        Ok(())
    })
}

#[test]
fn a_survivor_is_found_where_it_listens_now_and_recovered_only_if_its_cluster_is_lost() -> Tested {
    on_each("operators-recover", true, |cluster| {
        let ids = cluster.ids();
        let early = cluster.ctrlc(&["recover", "--from", &ids[0]])?;
        assert_eq!(early.status.code(), Some(1), "it has a leader: {}", said(&early));
        cluster.lose_all_but_the_first()?;
        if ids.len() == 1 {
            whole(cluster)?;
            let output = cluster.ctrlc(&["doctor"])?;
            assert_eq!(output.status.code(), Some(0), "{}", said(&output));
            return Ok(());
        }
        let lost = wait_for("doctor to say what is wrong", GENEROUS, || {
            let output = cluster.ctrlc(&["doctor"])?;
            if output.status.code() == Some(2) && said(&output).contains(&ids[0]) {
                Ok(output)
            } else {
                Err(said(&output))
            }
        })?;
        assert!(!lost.stdout.is_empty());
        for command in ["status", "nodes", "shards"] {
            let output = cluster.ctrlc(&[command])?;
            let first = said(&output).lines().next().unwrap_or_default().to_owned();
            let lost = format!("NO MAJORITY: 1 of {} voters answer; no shard is served", ids.len());
            assert_eq!((output.status.code(), first), (Some(1), lost), "{command}");
        }
        let done = wait_for("the survivor to be recovered", GENEROUS, || {
            let output = cluster.ctrlc(&["recover", "--from", &ids[0]])?;
            if output.status.success() { Ok(output) } else { Err(said(&output)) }
        })?;
        assert!(said(&done).contains("generation 2"), "{}", said(&done));
        wait_for("it to own all shards", GENEROUS, || {
            let status = cluster.status(0)?;
            let own = member(&status, &ids[0]).and_then(|own| own["shards"].as_u64());
            if own == status["shards_total"].as_u64() && own.is_some() { Ok(()) } else { Err(format!("{own:?}")) }
        })?;
        Ok(())
    })
}

/// Time in which a process that nobody takes in is looked at.
const LOOKS: Duration = Duration::from_secs(3);

#[test]
fn a_new_process_of_a_name_is_not_shown_as_the_voter_that_is_dead() -> Tested {
    on_each("operators-anew", false, |cluster| {
        let ids = cluster.ids();
        if ids.len() == 1 {
            // Nobody is left who could show anything.
            return Ok(());
        }
        let leader = cluster.status(0)?["leader"].clone();
        let gone = (1..ids.len()).rev().find(|&node| leader != ids[node].as_str()).ok_or("others follow")?;
        cluster.put_an_observer_in_place_of(gone)?;
        wait_for("the new process to see the others, and they it", GENEROUS, || {
            let seen = cluster.status(gone)?["members"].as_array().map_or(0, Vec::len);
            if seen >= ids.len() { Ok(()) } else { Err(format!("{seen} seen")) }
        })?;
        let looks_alive = || {
            let line = line_of(&cluster.ctrlc(&["nodes"])?, &ids[gone]);
            Ok::<_, String>(line.contains("alive") && line.contains("Voter"))
        };
        wait_for("the others to know that it is dead", GENEROUS, || match looks_alive()? {
            true => Err("it looks alive".to_owned()),
            false => Ok(()),
        })?;
        let until = Instant::now() + LOOKS;
        while Instant::now() < until {
            assert!(!looks_alive()?, "{} looks alive again", ids[gone]);
        }
        Ok(())
    })
}

/// Prints what the page's script makes of each status.
const SENTENCES: &str = "
import { readFileSync } from 'node:fs';
const words = await import('data:text/javascript;base64,' + readFileSync(process.argv[1]).toString('base64'));
for (const status of JSON.parse(readFileSync(process.argv[2]))) console.log(words.sentence(status));
";

/// What pages say of their nodes, in one sentence each.
fn sentences(pages: &[SocketAddr], label: &str) -> Result<Vec<String>, String> {
    let folder = scratch(label)?;
    let script = http::get(pages[0], "/page/words.js", GENEROUS).map_err(|error| error.to_string())?;
    let statuses = pages.iter().map(|&page| status(page)).collect::<Result<Vec<_>, _>>()?;
    for (file, text) in [("words.mjs", script.text().to_string()), ("statuses.json", Value::from(statuses).to_string())]
    {
        std::fs::write(folder.join(file), text).map_err(|error| error.to_string())?;
    }
    let mut command = Command::new("node");
    command.args(["--input-type=module", "--eval", SENTENCES]);
    let output = command.args(["words.mjs", "statuses.json"].map(|file| folder.join(file))).output();
    let output = output.map_err(|error| format!("Node.js: {error}"))?;
    Ok(said(&output).lines().map(str::to_owned).collect())
}

#[test]
fn the_page_of_an_observer_says_so_and_those_of_members_say_what_they_serve() -> Tested {
    const NAME: &str = "the_page_of_an_observer_says_so_and_those_of_members_say_what_they_serve";
    if Command::new("node").arg("--version").output().is_err() {
        return skip(NAME, "Node.js is missing");
    }
    on_each("operators-page", false, |cluster| {
        let (_, observer) = observed(cluster)?;
        let mut pages = vec![observer];
        for node in 0..cluster.ids().len() {
            pages.push(cluster.page(node)?);
        }
        let label = format!("{}-words", cluster.name());
        // On a busy machine one of them may have lost its lease for a moment, and say so.
        wait_for("every page to say what its node does", GENEROUS, || {
            let said = sentences(&pages, &label)?;
            let serves = |said: &String| said.starts_with("Operational.") && said.contains("serves");
            let right =
                said[0] == "Observing. It watches the cluster and owns nothing." && said[1..].iter().all(serves);
            if right && said.len() == pages.len() { Ok(()) } else { Err(format!("{said:?}")) }
        })?;
        Ok(())
    })
}
