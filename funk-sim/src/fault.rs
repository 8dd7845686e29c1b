//! What can go wrong. A fault begins at a time, lasts, and ends; the runner
//! does nothing of it that would destroy the cluster for good.

use std::fmt;
use std::str::FromStr;

/// What kind of thing goes wrong. `nodes` and `amount` are the fault's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The process is killed, its streams are reset; started again at the end.
    Kill,
    /// The power goes without a word; started again at the end.
    PowerOff,
    /// Killed and started with an empty disk.
    Wipe,
    /// Killed; at the end it is started under another address.
    Move,
    /// Killed and started `amount` times, over and over.
    RestartStorm,
    /// All processes of a spare minority are killed at one moment.
    MassKill,
    /// Stands still (SIGSTOP, a frozen machine).
    Pause,
    /// Stands still for moments, again and again.
    Stutter,
    /// `nodes` and the rest do not reach one another.
    Partition,
    /// What `nodes` send does not reach the rest.
    Outbound,
    /// What the rest sends does not reach `nodes`.
    Inbound,
    /// Two nodes do not reach one another, all else does.
    Partial,
    /// A ring: each node reaches its neighbours only.
    Ring,
    /// The links of `nodes` are clogged one by one, and freed in another order.
    SwizzleClog,
    /// One node's links are cut and mended every `amount` milliseconds.
    Flap,
    /// `amount` ppm of the packets are lost.
    Loss,
    /// `amount` ppm of the datagrams come twice.
    Duplicate,
    /// `amount` ppm of the datagrams are held up.
    Reorder,
    /// Packets take up to `amount` microseconds longer.
    Delay,
    /// `amount` ppm of the datagrams are damaged.
    Corrupt,
    /// Upon `amount` ppm of the datagrams an old one comes again.
    Replay,
    /// The clock runs fast by `amount` ppm (an odd amount: slow), within the bound.
    Drift,
    /// The same, past the bound: only fencing has to hold.
    DriftPast,
    /// Each flush takes `amount` milliseconds.
    SlowDisk,
    /// Loses packets, is late, stutters: neither dead nor alive.
    Gray,
    /// Its listeners are closed, the process lives.
    Deaf,
    /// Its listeners are closed and its streams reset, the process lives: it looks dead to whoever dials it.
    Shut,
    /// A firewall refuses all that comes to it, and says so.
    Reject,
    /// Forged news: resets of healthy streams, unreachable reports.
    Forge,
    /// Another node starts under the name of a living one.
    Impostor,
    /// A cluster of another name or of the same name at the same addresses' reach.
    Foreign,
    /// Strangers send garbage to the sockets and streams.
    Malformed,
    /// Strangers send very much.
    Flood,
    /// A new node joins, and leaves at the end.
    Join,
    /// A node leaves in order, and comes back at the end.
    Leave,
    /// The leader is asked to step down.
    StepDown,
    /// Killed, and a bit of what was stable on its disk flips: it must not go on with that.
    Rot,
    /// The disk is full: the first write fails.
    FullDisk,
    /// The process ends and says so (`amount` even), or another tells that it
    /// waited for its end (odd); started again at the end.
    Exit,
    /// Goodbyes of former boots come again, others are sent to whom they are
    /// not for, or are changed.
    FalseGoodbye,
    /// Shards are pinned to a node: `amount` says where they begin and how many; freed at the end.
    Pin,
    /// A member is given the weight `amount`; its own again at the end.
    Weigh,
    /// A member is drained; at the end it is started again.
    Drain,
    /// A member is taken out; at the end it is let in anew.
    Evict,
    /// A node publishes an endpoint of the port `amount`, and withdraws it at the end.
    Endpoint,
    /// The process ends in order and is started as one of a later version, or of this one again.
    Upgrade,
    /// A machine stands still, and all of its clocks with it (a virtual machine that is stopped and resumed): no gap is to be seen.
    Freeze,
    /// Strangers say what only members may, in their names.
    Slander,
    /// A member says what only others may, on its own streams.
    Insider,
    /// `amount` accusations, requests to join and hellos of strangers come in at one moment.
    Crowd,
    /// Gossip shows `amount` members that are nobody's.
    Pool,
}

impl Kind {
    /// All kinds with their words.
    pub const ALL: [(Kind, &'static str); 51] = [
        (Kind::Kill, "kill"),
        (Kind::PowerOff, "power-off"),
        (Kind::Wipe, "wipe"),
        (Kind::Move, "move"),
        (Kind::RestartStorm, "restart-storm"),
        (Kind::MassKill, "mass-kill"),
        (Kind::Pause, "pause"),
        (Kind::Stutter, "stutter"),
        (Kind::Partition, "partition"),
        (Kind::Outbound, "outbound"),
        (Kind::Inbound, "inbound"),
        (Kind::Partial, "partial"),
        (Kind::Ring, "ring"),
        (Kind::SwizzleClog, "swizzle-clog"),
        (Kind::Flap, "flap"),
        (Kind::Loss, "loss"),
        (Kind::Duplicate, "duplicate"),
        (Kind::Reorder, "reorder"),
        (Kind::Delay, "delay"),
        (Kind::Corrupt, "corrupt"),
        (Kind::Replay, "replay"),
        (Kind::Drift, "drift"),
        (Kind::DriftPast, "drift-past"),
        (Kind::SlowDisk, "slow-disk"),
        (Kind::Gray, "gray"),
        (Kind::Deaf, "deaf"),
        (Kind::Shut, "shut"),
        (Kind::Reject, "reject"),
        (Kind::Forge, "forge"),
        (Kind::Impostor, "impostor"),
        (Kind::Foreign, "foreign"),
        (Kind::Malformed, "malformed"),
        (Kind::Flood, "flood"),
        (Kind::Join, "join"),
        (Kind::Leave, "leave"),
        (Kind::StepDown, "step-down"),
        (Kind::Rot, "rot"),
        (Kind::FullDisk, "full-disk"),
        (Kind::Exit, "exit"),
        (Kind::FalseGoodbye, "false-goodbye"),
        (Kind::Pin, "pin"),
        (Kind::Weigh, "weigh"),
        (Kind::Drain, "drain"),
        (Kind::Evict, "evict"),
        (Kind::Endpoint, "endpoint"),
        (Kind::Upgrade, "upgrade"),
        (Kind::Freeze, "freeze"),
        (Kind::Slander, "slander"),
        (Kind::Insider, "insider"),
        (Kind::Crowd, "crowd"),
        (Kind::Pool, "pool"),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("?", |(_, word)| word)
    }
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins, milliseconds after the start of the world.
    pub at: u64,
    /// How long it lasts, milliseconds.
    pub length: u64,
    /// What it is.
    pub kind: Kind,
    /// Whom it hits: a bit for each host.
    pub nodes: u64,
    /// How much, in the unit of its kind.
    pub amount: u64,
}

impl Fault {
    /// The hosts that it hits, of `hosts` that there are.
    pub fn hosts(&self, hosts: usize) -> Vec<usize> {
        (0..hosts).filter(|&at| self.nodes >> at & 1 == 1).collect()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {:b} {}", self.at, self.length, self.kind.word(), self.nodes, self.amount)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [at, length, kind, nodes, amount] = words[..] else {
            return Err(format!("{line:?} is not `at length kind nodes amount`"));
        };
        let number = |word: &str| word.parse::<u64>().map_err(|error| format!("{word:?}: {error}"));
        let kind = Kind::ALL.iter().find(|(_, word)| *word == kind).map(|(kind, _)| *kind);
        Ok(Self {
            at: number(at)?,
            length: number(length)?,
            kind: kind.ok_or_else(|| format!("{line:?} names no fault"))?,
            nodes: u64::from_str_radix(nodes, 2).map_err(|error| format!("{nodes:?}: {error}"))?,
            amount: number(amount)?,
        })
    }
}
