//! Nodes that others reach at other addresses than those that they bind.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use funk_tests::blackbox::cluster::{GENEROUS, check_converged, page_address};
use funk_tests::blackbox::http::Client;
use funk_tests::blackbox::namespaces::{INNER, Network, is_root, skip, with_tools};
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::status::{self, Status};
use funk_tests::blackbox::{Tested, program, scratch, wait_for};
use rustix::process::Signal;

const TOOLS: [&str; 4] = ["ip", "unshare", "nsenter", "nft"];

/// What each router passes on: tag, protocol, port outside, port inside.
const FORWARDED: [(&str, &str, u16, u16); 9] = [
    ("ep.serf", "tcp", 7000, 7000),
    ("ep.serf", "udp", 7000, 7000),
    ("ep.raft", "tcp", 8001, 7001),
    ("ep.liveness", "udp", 8002, 7002),
    ("ep.clusterfunk.management", "tcp", 7003, 7003),
    ("ep.cluster", "tcp", 7004, 7004),
    ("ep.demo", "tcp", 7005, 7005),
    ("ep.httpConsole", "tcp", 80, 7006),
    ("ep.metrics", "tcp", 7007, 7007),
];

/// Three nodes of one address and the same ports, each behind a router of its own. Nobody sees where a packet of theirs
/// comes from: the routers put themselves in, and a random port.
struct Routed {
    network: Network,
    name: String,
    dir: PathBuf,
    nodes: Vec<(usize, Process)>,
}

impl Routed {
    fn new(label: &str) -> Result<Self, String> {
        let network = Network::new()?;
        network.enter()?;
        let name = format!("{label}-{}", std::process::id());
        Ok(Self { network, name, dir: scratch(label)?, nodes: Vec::new() })
    }

    fn id(router: usize) -> String {
        format!("r{router}")
    }

    /// Starts a node behind a new router.
    fn start(&mut self, arguments: &[&str]) -> Result<(), String> {
        let router = self.network.add()?;
        let host = self.network.add_behind(router)?;
        let nft = |rule: &str| self.network.run_on(router, &["nft", rule]);
        nft("add table ip t")?;
        nft("add chain ip t before { type nat hook prerouting priority dstnat; }")?;
        nft("add chain ip t after { type nat hook postrouting priority srcnat; }")?;
        nft("add rule ip t after oifname eth0 masquerade random")?;
        for (_, protocol, outside, inside) in FORWARDED {
            nft(&format!("add rule ip t before iifname eth0 {protocol} dport {outside} dnat to {INNER}:{inside}"))?;
        }
        let outer = Network::ip(router).to_string();
        let mut command = Command::new(program("demo")?);
        command.env_clear().args(["--cluster-name", &self.name, "--node-id", &Self::id(router), "--zeroconf=false"]);
        command.args(["--interface", "0.0.0.0", "--advertise", &outer]).args(arguments);
        for (tag, _, outside, inside) in FORWARDED {
            let name = match tag {
                "ep.httpConsole" => "http",
                tag => tag.rsplit('.').next().unwrap_or_default(),
            };
            command.env(format!("FUNK_{}_ENDPOINT", name.to_uppercase()), format!("0.0.0.0:{inside}"));
            if outside != inside {
                command.arg(format!("--advertise-{name}={outer}:{outside}"));
            }
        }
        let process = Process::start(&Self::id(router), self.network.on(host, &command), &self.dir)?;
        self.nodes.push((router, process));
        Ok(())
    }

    fn statuses(&self) -> Result<Vec<Status>, String> {
        let page = |(_, node): &(usize, Process)| page_address(&node.line("status ", GENEROUS)?.text);
        let fetch = |node| status::fetch(&mut Client::new(page(node)?, Duration::from_secs(2)));
        self.nodes.iter().map(fetch).collect()
    }

    /// Waits until the nodes are one cluster.
    fn converged(&self) -> Result<Vec<Status>, String> {
        let ids: BTreeSet<String> = self.nodes.iter().map(|(router, _)| Self::id(*router)).collect();
        let outcome = wait_for("the nodes to converge", GENEROUS, || {
            let all = self.statuses()?;
            check_converged(&all, &ids).map(|()| all)
        });
        let tails = || self.nodes.iter().map(|(_, node)| node.tail()).collect::<Vec<_>>().join("\n");
        outcome.map_err(|error| format!("{error}\n{}", tails()))
    }

    /// A client outside, for so many seconds.
    fn client(&self, seconds: u32) -> Result<Process, String> {
        let mut command = Command::new(program("client")?);
        command.env_clear().args(["--cluster-name", &self.name, "--retry", "--json", "--rate", "100"]);
        command.args(["--concurrency", "64", "--duration", &format!("{seconds}s")]);
        for (router, _) in &self.nodes {
            command.args(["--join", &format!("{}:7000", Network::ip(*router))]);
        }
        Process::start("client", command, &self.dir)
    }

    /// Requests that the nodes count.
    fn served(&self) -> Result<u64, String> {
        let mut sum = 0.0;
        for (router, _) in &self.nodes {
            let at = (Network::ip(*router), 7007).into();
            let page =
                Client::new(at, Duration::from_secs(2)).get("/metrics").map_err(|error| error.to_string())?.text();
            let counts = page.lines().filter_map(|line| line.strip_prefix("cf_cluster_requests{")?.rsplit_once(' '));
            sum += counts.filter_map(|(_, count)| count.parse::<f64>().ok()).sum::<f64>();
        }
        format!("{sum:.0}").parse().map_err(|_| format!("{sum} requests"))
    }
}

#[test]
fn nodes_behind_routers_that_translate_addresses_form_a_cluster_that_fails_over() -> Tested {
    if !is_root() {
        return skip("nodes behind routers", "only root may enter a namespace as a thread");
    }
    with_tools("nodes behind routers", &TOOLS, || {
        let mut routed = Routed::new("routed")?;
        routed.start(&["--bootstrap"])?;
        let seed = format!("{}:7000", Network::ip(0));
        routed.start(&["--join", &seed])?;
        routed.start(&["--join", &seed])?;
        let all = routed.converged()?;
        for status in &all {
            for (id, member) in &status.members {
                let router = id.trim_start_matches('r').parse()?;
                for (tag, _, outside, _) in FORWARDED {
                    let told = (Network::ip(router), outside).into();
                    assert_eq!(member.endpoints[tag], told, "{}: {tag} of {id}", status.node_id);
                }
                assert_eq!(member.endpoints["ep.monitoring"], member.endpoints["ep.metrics"], "{id}");
            }
        }

        let mut client = routed.client(6)?;
        wait_for("the client's first requests", GENEROUS, || match routed.served()? {
            served if served > 100 => Ok(()),
            served => Err(format!("{served} so far\n{}", client.tail())),
        })?;
        let leader = all[0].leader.clone().ok_or("nobody leads")?;
        let at = routed.nodes.iter().position(|(router, _)| Routed::id(*router) == leader).ok_or("who leads?")?;
        routed.nodes.remove(at).1.signal(Signal::KILL);
        let rest = routed.converged()?;
        assert_ne!(rest[0].leader.as_ref(), Some(&leader));
        let ended = client.wait(GENEROUS)?;
        let said: Vec<_> = client.lines().into_iter().map(|line| line.text).collect();
        assert!(ended.success(), "a request was lost: {said:?}\n{}", client.tail());
        Ok(())
    })
}
