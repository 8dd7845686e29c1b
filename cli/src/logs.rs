//! Logs on stderr.

use std::io;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, Args)]
pub struct LogFlags {
    /// error, warn, info, debug or trace
    #[arg(long, env = "FUNK_LOG_LEVEL", value_name = "LEVEL", default_value = "info",
        value_parser = clap::builder::PossibleValuesParser::new(["error", "warn", "info", "debug", "trace"]))]
    pub log_level: String,
    /// text or json
    #[arg(long, env = "FUNK_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

impl LogFlags {
    /// Logs to stderr from now on.
    pub fn start(&self) {
        let logs = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(EnvFilter::new(&self.log_level));
        match self.log_format {
            LogFormat::Text => logs.init(),
            LogFormat::Json => logs.json().init(),
        }
    }
}
