//! Manages a cluster through the management gRPC of any of its nodes.
//!
//! | file | what |
//! |---|---|
//! | `flags` | the command line |
//! | `find` | where a node's management endpoint is |
//! | `stage` | what is being waited for |
//! | `node` | one node, and what to say of its refusals |
//! | `asked` | calls to a node that answers |
//! | `answer` | what commands do with a node's answer |
//! | `commands` | what each command asks and shows |
//! | `shards` | who owns how many, what a change would move, pins |
//! | `change` | a change to shards as it is typed |
//! | `diag` | every node's view, and where they differ |
//! | `table` | text that fits a terminal |

mod answer;
mod asked;
mod change;
mod commands;
mod diag;
mod find;
mod flags;
mod node;
mod shards;
mod stage;
mod table;

use std::fmt;
use std::time::Instant;

use clap::CommandFactory;
use futures_lite::future;
use serde_json::Value;

pub use flags::{Command, CtrlFlags, NodeCommand, OutputFormat};

/// How to bring a cluster back that lost its majority for good.
const RECOVER: &str = include_str!("ctl/recover.txt");

/// Why a command failed: a line for stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The cluster said no, or a request failed.
    Refused(String),
    /// The command line cannot work.
    Usage(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Refused(why) | Self::Usage(why)) = self;
        // A message of the cluster may have line ends of its own.
        let words: Vec<_> = why.split_whitespace().collect();
        f.write_str(&words.join(" "))
    }
}

/// What a command found out.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// For programs.
    pub json: Value,
    /// For people.
    pub text: String,
    /// Whether all is well; `diag` says no when it found something.
    pub good: bool,
    /// A line for stderr: whoever was asked is in no cluster.
    pub note: Option<String>,
}

impl Answer {
    /// The answer in the format asked for, with a line end.
    pub fn show(&self, format: OutputFormat) -> String {
        match format {
            OutputFormat::Json => format!("{:#}\n", self.json),
            OutputFormat::Text => self.text.clone(),
        }
    }
}

/// What needs no cluster: text for stdout, or `None` where the command needs one.
pub fn offline(flags: &CtrlFlags) -> Option<String> {
    match &flags.command {
        Command::Recover { from: None } => Some(RECOVER.into()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut CtrlFlags::command(), "ctrlc", &mut script);
            Some(String::from_utf8_lossy(&script).into_owned())
        }
        _ => None,
    }
}

/// Carries out a command within the time that the flags give.
///
/// # Errors
/// [`Failure`]: a line for stderr.
pub async fn run(flags: &CtrlFlags) -> Result<Answer, Failure> {
    let stage = stage::Stage::default();
    future::or(commands::run(flags, &stage, Instant::now() + flags.timeout), async {
        tokio::time::sleep(flags.timeout).await;
        let hint = stage.doubt().unwrap_or_else(|| flags.where_else().into());
        Err(Failure::Refused(format!("{} within {:?}: {hint}", stage.silent(), flags.timeout)))
    })
    .await
}
