//! Logs on stderr.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::lines::{complain, flush, show};

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
    /// Logs to stderr from now on, panics too. What stderr does not take is lost: no thread waits for it but
    /// the one that writes.
    pub fn start(&self) {
        let filter = EnvFilter::new(&self.log_level);
        let logs = tracing_subscriber::fmt().with_writer(Event::default).with_env_filter(filter);
        match self.log_format {
            LogFormat::Text => logs.init(),
            LogFormat::Json => logs.json().init(),
        }
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            let trace = std::backtrace::Backtrace::capture();
            complain(&format!("thread {:?}: {panic}\n{trace}", thread.name().unwrap_or("unnamed")));
            flush();
        }));
    }
}

/// One event of the log, handed over as a whole.
#[derive(Debug, Default)]
struct Event(Vec<u8>);

impl Write for Event {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            show(std::mem::take(&mut self.0));
        }
    }
}
