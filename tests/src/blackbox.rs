//! The black-box harness: real processes on the loopback address, watched
//! from outside through their standard output, their status JSON and their
//! exit codes. It knows nothing of funk's insides.

pub mod browser;
pub mod cluster;
pub mod fault;
pub mod hostile;
pub mod http;
pub mod load;
mod matrix;
pub mod namespaces;
pub mod pki;
pub mod poison;
pub mod ports;
pub mod process;
pub mod prometheus;
pub mod restart;
pub mod serf;
pub mod shell;
pub mod status;
pub mod trial;
pub mod watch;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A pause between two looks at something that announces no event.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// What a black-box test returns.
pub type Tested = Result<(), Failure>;

/// Why a test failed. Printed as it is, line ends and all, since it may hold the ends of logs.
pub struct Failure(String);

impl<E: fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The program `name` as `make` left it: in the directory that `FUNK_BIN`
/// names, else in the workspace's `bin`.
///
/// # Errors
/// One line saying what to do when the program is not there.
pub fn program(name: &str) -> Result<PathBuf, String> {
    let bin = match std::env::var_os("FUNK_BIN") {
        Some(bin) => PathBuf::from(bin),
        None => workspace().join("bin"),
    };
    let path = bin.join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("{} is not there: run `make` first, or set FUNK_BIN to the directory of the programs", path.display()))
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// Where a run keeps its logs: `target/tmp/<label>-<pid>`, made if missing.
///
/// # Errors
/// When the directory cannot be made.
pub fn scratch(label: &str) -> Result<PathBuf, String> {
    let dir = workspace().join("target/tmp").join(format!("{label}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    Ok(dir)
}

/// Looks at `state` every few milliseconds until it gives an answer.
///
/// # Errors
/// After `within`, with `what` was waited for and the last reason that `state` gave.
pub fn wait_for<T>(what: &str, within: Duration, mut state: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let started = Instant::now();
    loop {
        let reason = match state() {
            Ok(value) => return Ok(value),
            Err(reason) => reason,
        };
        if started.elapsed() > within {
            return Err(format!("waited {within:?} for {what}: {reason}"));
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}
