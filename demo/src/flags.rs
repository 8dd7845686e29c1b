//! Flags of the programs, from the command line and from `FUNK_<FLAG>`.

mod node;
mod parse;

pub use node::{LogFormat, NodeFlags, RuntimeName, Transport, addresses};
pub use parse::{duration, parse_or_exit, usage_line};
