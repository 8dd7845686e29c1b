//! Hosts of their own for real processes: network namespaces, joined by a
//! bridge. Each lives as long as a small process in it, which ends with the
//! test, whatever becomes of that; nothing of it is seen outside.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use rustix::thread::LinkNameSpaceType;

use super::Tested;
use super::process::installed;

/// Tools that hosts are made with.
pub const TOOLS: [&str; 3] = ["ip", "unshare", "nsenter"];

/// The address of each host behind a router, and the router's on that side.
pub const INNER: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 2);
const INNER_GATEWAY: &str = "192.168.7.1/24";

/// Holds a namespace open until its standard input ends.
const HOLD: &str = "ip link set lo up && echo ready && exec cat";

/// Runs `test` if the machine has these programs and lets it make namespaces;
/// else says which is missing. In continuous integration that is a failure.
///
/// # Errors
/// The test's.
pub fn with_tools(name: &str, tools: &[&str], test: impl FnOnce() -> Tested) -> Tested {
    let missing = tools.iter().find(|tool| installed(tool).is_none());
    let why = match missing {
        Some(tool) => format!("the program {tool} is missing"),
        None => match Holder::start(None) {
            Ok(_) => return test(),
            Err(error) => format!("no namespace can be made here: {error}"),
        },
    };
    skip(name, &why)
}

/// Says that a test is left out, and why. In continuous integration that is a failure.
///
/// # Errors
/// In continuous integration.
pub fn skip(name: &str, why: &str) -> Tested {
    if std::env::var("CI").is_ok_and(|ci| ci == "true") {
        return Err(format!("{name}: {why}").into());
    }
    eprintln!("*** SKIPPED: {name}: {why}");
    Ok(())
}

/// Whether this process may do everything; others may only within a user namespace of their own.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Hosts on one bridge.
#[derive(Debug)]
pub struct Network {
    switch: Holder,
    hosts: Vec<Holder>,
}

impl Network {
    /// A bridge without hosts.
    ///
    /// # Errors
    /// When the machine does not allow it.
    pub fn new() -> Result<Self, String> {
        let switch = Holder::start(None)?;
        switch.run(&["ip", "link", "add", "br0", "type", "bridge"])?;
        switch.run(&["ip", "link", "set", "br0", "up"])?;
        Ok(Self { switch, hosts: Vec::new() })
    }

    /// Adds a host; the first has number 0.
    ///
    /// # Errors
    /// When the machine does not allow it.
    pub fn add(&mut self) -> Result<usize, String> {
        let number = self.hosts.len();
        let host = Holder::start(Some(&self.switch))?;
        let (port, pid) = (format!("p{number}"), host.child.id().to_string());
        self.switch.run(&["ip", "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &pid])?;
        self.switch.run(&["ip", "link", "set", &port, "master", "br0", "up"])?;
        host.run(&["ip", "address", "add", &format!("{}/24", Self::ip(number)), "dev", "eth0"])?;
        host.run(&["ip", "link", "set", "eth0", "up"])?;
        self.hosts.push(host);
        Ok(number)
    }

    /// Adds a host that only `router` reaches, which is to forward to it; it may reach all that `router` does. Its address is
    /// [`INNER`], as that of every such host.
    ///
    /// # Errors
    /// When the machine does not allow it.
    pub fn add_behind(&mut self, router: usize) -> Result<usize, String> {
        let host = Holder::start(Some(&self.switch))?;
        let (router, pid) = (&self.hosts[router], host.child.id().to_string());
        router.run(&["ip", "link", "add", "in0", "type", "veth", "peer", "name", "eth0", "netns", &pid])?;
        router.run(&["ip", "address", "add", INNER_GATEWAY, "dev", "in0"])?;
        router.run(&["ip", "link", "set", "in0", "up"])?;
        router.run(&["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])?;
        host.run(&["ip", "address", "add", &format!("{INNER}/24"), "dev", "eth0"])?;
        host.run(&["ip", "link", "set", "eth0", "up"])?;
        host.run(&["ip", "route", "add", "default", "via", INNER_GATEWAY.trim_end_matches("/24")])?;
        self.hosts.push(host);
        Ok(self.hosts.len() - 1)
    }

    /// The address of a host.
    pub fn ip(host: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, u8::try_from(host + 1).expect("few hosts"))
    }

    /// Moves the calling thread onto the bridge, with the threads and processes that it
    /// starts from then on: it reaches every host that is plugged in, and nothing else.
    ///
    /// # Errors
    /// When the machine does not allow it; it takes root.
    pub fn enter(&self) -> Result<(), String> {
        self.switch.run(&["ip", "address", "add", "10.77.0.254/24", "dev", "br0"])?;
        let path = format!("/proc/{}/ns/net", self.switch.child.id());
        let space = std::fs::File::open(&path).map_err(|error| format!("{path}: {error}"))?;
        rustix::thread::move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| format!("a thread cannot move into a namespace here: {error}"))
    }

    /// Pulls a host's cable, or plugs it in.
    ///
    /// # Errors
    /// When the machine does not allow it.
    pub fn plug(&self, host: usize, plugged: bool) -> Result<(), String> {
        self.switch.run(&["ip", "link", "set", &format!("p{host}"), if plugged { "up" } else { "down" }]).map(drop)
    }

    /// Runs a short command on a host; what it printed.
    ///
    /// # Errors
    /// What it said, when it failed.
    pub fn run_on(&self, host: usize, words: &[&str]) -> Result<String, String> {
        self.hosts[host].run(words)
    }

    /// `command`, to be run on a host. Its environment is kept.
    pub fn on(&self, host: usize, command: &Command) -> Command {
        self.hosts[host].enter(command)
    }
}

/// A namespace, held open by a process.
#[derive(Debug)]
struct Holder {
    child: Child,
}

impl Holder {
    /// A new network namespace, within the user namespace of `owner` or a new one.
    fn start(owner: Option<&Self>) -> Result<Self, String> {
        let mut command = match owner {
            None => {
                let mut command = Command::new("unshare");
                command.args(if is_root() { &["--net"][..] } else { &["--map-root-user", "--net"] });
                command
            }
            Some(owner) => {
                let mut command = Command::new("nsenter");
                command.args(owner.way_in()).args(["--", "unshare", "--net"]);
                command
            }
        };
        command.args(["--", "sh", "-c", HOLD]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("unshare: {error}"))?;
        let mut said = String::new();
        let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
        // The pipe's reader goes; `cat` writes nothing, since nothing is written to it.
        let read = BufReader::new(stdout).read_line(&mut said);
        let holder = Self { child };
        match read {
            Ok(_) if said.trim() == "ready" => Ok(holder),
            _ => Err("unshare does not make a network namespace".into()),
        }
    }

    /// What leads `nsenter` to where this may be used.
    fn way_in(&self) -> Vec<String> {
        let target = ["--target".to_owned(), self.child.id().to_string()];
        let user = ["--preserve-credentials", "--user"].into_iter().filter(|_| !is_root());
        user.map(str::to_owned).chain(target).collect()
    }

    fn enter(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.args(self.way_in()).args(["--net", "--"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                inside.env(name, value);
            }
        }
        inside
    }

    fn run(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        let output = self.enter(&command).output().map_err(|error| format!("nsenter: {error}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
