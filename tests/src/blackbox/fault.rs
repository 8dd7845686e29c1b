//! What is done to a node, and to which.

use std::fmt;
use std::str::FromStr;

use rustix::process::Signal;

/// How a node is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGSTOP, and SIGCONT when the settling is over.
    Stop,
    /// SIGKILL for the child of a guard, which tells the others.
    Reap,
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
    /// The signal that does it.
    pub fn signal(self) -> Signal {
        match self {
            Self::Kill | Self::Reap => Signal::KILL,
            Self::Stop => Signal::STOP,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Reap => "reap",
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
            _ => Err(format!("`{text}` is none of kill, stop and reap")),
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
