//! The guard of a node: this program once more, which waits for the one that serves.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Arc;

use funk::supervisor::Supervised;
use funk_cli::complain;
use rustix::process::Signal;
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

/// Runs this program with the same arguments as a child, passes the signals to
/// stop on to it, tells its peers when it has ended, and ends like it.
pub fn run() -> ExitCode {
    match watch() {
        Ok(status) => ExitCode::from(code(status)),
        Err(error) => {
            complain(&format!("the node cannot be guarded: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn watch() -> io::Result<ExitStatus> {
    // Before the child is there, so that no signal ends the guard alone.
    let mut signals = Signals::new([SIGINT, SIGQUIT, SIGTERM])?;
    let mut command = Command::new(std::env::current_exe()?);
    // A terminal sends its signals to a whole group; the node is to get each once.
    command.args(std::env::args_os().skip(1)).process_group(0);
    let guarded = Arc::new(Supervised::start(command)?);
    tracing::info!(pid = guarded.pid(), "guarding the node");
    let passing = Arc::clone(&guarded);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for number in signals.forever() {
            passing.signal(match number {
                SIGINT => Signal::INT,
                SIGQUIT => Signal::QUIT,
                _ => Signal::TERM,
            });
        }
    })?;
    let status = guarded.wait()?;
    tracing::info!(%status, "the node has ended, its peers are told");
    Ok(status)
}

/// The exit code of a shell for it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
