//! What is done to a node, and to which.

use std::fmt;
use std::str::FromStr;

use rustix::process::Signal;

use super::cluster::DemoCluster;

/// How a node is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL, with no watcher.
    Kill,
    /// SIGSTOP, and SIGCONT when the settling is over.
    Stop,
    /// SIGKILL for a node whose watcher tells the others.
    Reap,
    /// SIGKILL in a cluster whose store refuses older epochs.
    Fence,
    /// SIGTERM: the node hands over, leaves and says goodbye.
    Leave,
    /// The cable of its host is pulled, and plugged in when the settling is over.
    Cut,
}

/// Which node is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The leader.
    Leader,
    /// Any other.
    Follower,
}

impl Fault {
    /// Does it to a node.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn strike(self, cluster: &DemoCluster, node: usize) -> Result<(), String> {
        let process = &cluster.nodes[node].process;
        match self {
            Self::Kill | Self::Fence | Self::Reap => process.signal(Signal::KILL),
            Self::Stop => process.signal(Signal::STOP),
            Self::Leave => process.signal(Signal::TERM),
            Self::Cut => cluster.plug(node, false)?,
        }
        Ok(())
    }

    /// Whether it passes: the node goes on, and is back at the end.
    pub fn passes(self) -> bool {
        matches!(self, Self::Stop | Self::Cut)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Reap => "reap",
            Self::Fence => "fence",
            Self::Leave => "leave",
            Self::Cut => "cut",
        })
    }
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
        })
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "kill" => Ok(Self::Kill),
            "stop" => Ok(Self::Stop),
            "reap" => Ok(Self::Reap),
            "fence" => Ok(Self::Fence),
            "leave" => Ok(Self::Leave),
            "cut" => Ok(Self::Cut),
            _ => Err(format!("`{text}` is none of kill, stop, reap, fence, leave and cut")),
        }
    }
}

impl FromStr for Victim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "leader" => Ok(Self::Leader),
            "follower" => Ok(Self::Follower),
            _ => Err(format!("`{text}` is neither leader nor follower")),
        }
    }
}
