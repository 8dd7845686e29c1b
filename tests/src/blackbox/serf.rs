//! A real Serf agent beside the nodes, driven by its own command line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::cluster::GENEROUS;
use super::namespaces::Network;
use super::process::Process;
use super::{ports, wait_for};

/// The program that a test with an agent needs.
pub const SERF: &str = "serf";

/// A running agent.
#[derive(Debug)]
pub struct Agent<'a> {
    /// Its process.
    pub process: Process,
    /// Its gossip address.
    pub serf: SocketAddr,
    rpc: SocketAddr,
    place: Place<'a>,
}

/// Where a program runs: here, or on a host of a network.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// On this host's loopback address.
    Here,
    /// On that host.
    On(&'a Network, usize),
}

impl Place<'_> {
    /// `command`, to be run there.
    pub fn command(self, command: Command) -> Command {
        match self {
            Self::Here => command,
            Self::On(network, host) => network.on(host, &command),
        }
    }

    /// What a program says, run to its end there.
    ///
    /// # Errors
    /// When it cannot be run or fails.
    pub fn output(self, command: Command) -> Result<Vec<u8>, String> {
        let output = self.command(command).output().map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = [&output.stdout[..], &output.stderr].concat();
        Err(format!("{}: {}", output.status, String::from_utf8_lossy(&said).trim()))
    }
}

/// A member as an agent shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its gossip address.
    pub addr: String,
    /// Serf's word for its status.
    pub status: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl<'a> Agent<'a> {
    /// Starts an agent on a free port of the loopback address that joins through `join`, and waits until it has.
    ///
    /// # Errors
    /// When it cannot be started or does not get in.
    pub fn start(dir: &Path, name: &str, join: SocketAddr, tags: &[&str]) -> Result<Self, String> {
        Self::start_at(Place::Here, (ports::free()?, ports::free()?), dir, name, join, tags)
    }

    /// As [`Agent::start`], with a key for its gossip.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub fn start_with_key(dir: &Path, name: &str, join: SocketAddr, key: &str) -> Result<Self, String> {
        Self::start_with_key_at((ports::free()?, ports::free()?), dir, name, join, key)
    }

    /// As [`Agent::start_with_key`], with an address for gossip and one for its command line.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub fn start_with_key_at(
        addresses: (SocketAddr, SocketAddr),
        dir: &Path,
        name: &str,
        join: SocketAddr,
        key: &str,
    ) -> Result<Self, String> {
        Self::run(Place::Here, addresses, dir, name, join, &["-encrypt", key])
    }

    /// As [`Agent::start`], at a place, with an address for gossip and one for its command line.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub fn start_at(
        place: Place<'a>,
        addresses: (SocketAddr, SocketAddr),
        dir: &Path,
        name: &str,
        join: SocketAddr,
        tags: &[&str],
    ) -> Result<Self, String> {
        let tags: Vec<_> = tags.iter().flat_map(|tag| ["-tag", tag]).collect();
        Self::run(place, addresses, dir, name, join, &tags)
    }

    fn run(
        place: Place<'a>,
        (serf, rpc): (SocketAddr, SocketAddr),
        dir: &Path,
        name: &str,
        join: SocketAddr,
        arguments: &[&str],
    ) -> Result<Self, String> {
        let mut command = Command::new(SERF);
        command.args(["agent", "-log-level=debug", "-node", name, "-bind", &serf.to_string()]);
        command.args(["-rpc-addr", &rpc.to_string(), "-join", &join.to_string()]);
        command.args(arguments);
        let process = Process::start(name, place.command(command), dir)?;
        let agent = Self { process, serf, rpc, place };
        let joined = wait_for("the agent to join", GENEROUS, || {
            let members = agent.members()?;
            if members.len() > 1 { Ok(()) } else { Err("it is alone".into()) }
        });
        joined.map_err(|error| format!("{error}\n{}", agent.said()))?;
        Ok(agent)
    }

    /// All that it printed.
    pub fn said(&self) -> String {
        let lines: Vec<_> = self.process.lines().into_iter().map(|line| line.text).collect();
        lines.join("\n")
    }

    /// The members that it knows, by name.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn members(&self) -> Result<BTreeMap<String, Seen>, String> {
        let json: Value = serde_json::from_slice(&self.ask(&["members", "-detailed", "-format=json"])?)
            .map_err(|error| format!("serf members: {error}"))?;
        let members = json["members"].as_array().ok_or("serf members: no list")?;
        members.iter().map(read_member).collect()
    }

    /// Waits until the member of this name is seen so.
    ///
    /// # Errors
    /// When it is not in time: how it is seen, and what the agent said.
    pub fn sees(&self, name: &str, what: &str, fits: impl Fn(&Seen) -> bool) -> Result<(), String> {
        let seen = wait_for(&format!("the agent to see {name} {what}"), GENEROUS * 3, || {
            let members = self.members()?;
            let seen = members.get(name).ok_or_else(|| format!("it sees {members:?}"))?;
            if fits(seen) { Ok(()) } else { Err(format!("it sees {seen:?}")) }
        });
        seen.map_err(|error| format!("{error}\n{}", self.said()))
    }

    /// Runs one of its commands that needs nothing but to be heard.
    ///
    /// # Errors
    /// When the command fails.
    pub fn ask(&self, words: &[&str]) -> Result<Vec<u8>, String> {
        let mut command = Command::new(SERF);
        command.args(&words[..1]).args(["-rpc-addr", &self.rpc.to_string()]).args(&words[1..]);
        self.place.output(command).map_err(|error| format!("serf {}: {error}", words.join(" ")))
    }
}

fn read_member(json: &Value) -> Result<(String, Seen), String> {
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| format!("serf members: {json}"));
    let tags = json["tags"].as_object().ok_or("serf members: no tags")?;
    let tags = tags.iter().map(|(name, value)| Ok((name.clone(), text(value)?))).collect::<Result<_, String>>()?;
    Ok((text(&json["name"])?, Seen { addr: text(&json["addr"])?, status: text(&json["status"])?, tags }))
}
