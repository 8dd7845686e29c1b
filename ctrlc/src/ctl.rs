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
//! | `verdict` | whether the cluster serves, in one sentence |
//! | `views` | what every node says of itself and the cluster |
//! | `doctor` | where they differ, and how bad that is |
//! | `health` | whether a node's page says that it is well |
//! | `keys` | gossip keys, and their rotation |
//! | `tls` | certificates for development |
//! | `table`, `screen` | text that fits where it is shown |

mod answer;
mod asked;
mod change;
mod commands;
mod doctor;
mod find;
mod flags;
mod health;
mod keys;
mod node;
mod screen;
mod shards;
mod stage;
mod table;
mod tls;
mod verdict;
mod views;

use std::fmt;
use std::time::Instant;

use clap::CommandFactory;
use futures_lite::future;
use serde_json::Value;

pub use flags::{Command, CtrlFlags, KeysCommand, NodeCommand, OutputFormat, TlsCommand};
pub use health::HealthFlags;
pub use screen::{ColorChoice, Screen};
pub use table::Text;

/// How to bring a cluster back that lost its majority for good.
const RECOVER: &str = include_str!("ctl/recover.txt");

/// Why a command failed: a line for stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The cluster said no, or a request failed.
    Refused(String),
    /// `doctor` found nobody to ask.
    Unknown(String),
    /// The command line cannot work.
    Usage(String),
}

impl Failure {
    /// The exit code.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::Unknown(_) => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Refused(why) | Self::Unknown(why) | Self::Usage(why)) = self;
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
    pub text: Text,
    /// The exit code: 0 if all is well, as far as the command says.
    pub code: u8,
    /// A line for stderr: whoever was asked is in no cluster.
    pub note: Option<String>,
}

impl Answer {
    /// The answer in the format asked for, with a line end.
    pub fn show(&self, format: OutputFormat, screen: Screen) -> String {
        match format {
            OutputFormat::Json => format!("{:#}\n", self.json),
            OutputFormat::Text => self.text.on(screen),
        }
    }
}

/// What needs no cluster: text for stdout, or `None` where the command needs one.
///
/// # Errors
/// [`Failure`]: a line for stderr.
pub fn offline(flags: &CtrlFlags) -> Option<Result<String, Failure>> {
    match &flags.command {
        Command::Recover { from: None } => Some(Ok(RECOVER.into())),
        Command::Tls(command) => Some(tls::run(command, &flags.cluster())),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut CtrlFlags::command(), "ctrlc", &mut script);
            Some(Ok(String::from_utf8_lossy(&script).into_owned()))
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
    let work = async {
        match &flags.command {
            Command::Health(health) => {
                let dial = flags.dial().map_err(Failure::Usage)?;
                health::ask(health, dial.tls.as_ref(), &stage).await
            }
            _ => commands::run(flags, &stage, Instant::now() + flags.timeout).await,
        }
    };
    let done = future::or(work, async {
        tokio::time::sleep(flags.timeout).await;
        let hint = stage.doubt().unwrap_or_else(|| flags.where_else().into());
        Err(Failure::Refused(format!("{} within {:?}: {hint}", stage.silent(), flags.timeout)))
    })
    .await;
    if let Command::Node(NodeCommand::Drain { linger, .. }) = &flags.command {
        tokio::time::sleep(*linger).await;
    }
    match (done, &flags.command) {
        (Err(Failure::Refused(why)), Command::Doctor) => Err(Failure::Unknown(why)),
        (done, _) => done,
    }
}
