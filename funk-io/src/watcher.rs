//! The watcher: a small child process that tells the peers when this process is gone.
//!
//! A process that is killed says nothing. Its peers wait until they have missed it and its lease has run out, some
//! 150 ms. The watcher knows at once, and surely: the operating system reports the end of a process when none of its
//! threads runs any more. So a plain `kill -9` fails over within milliseconds, and as safely.
//!
//! ```text
//!  node ── starts ───────────────────────────> watcher
//!       ── last words, whenever they change ->          over the watcher's standard input, a pair of sockets
//!       ── ends: its pidfd says so ──────────>          tells the peers, and ends too
//! ```
//!
//! The watched process keeps its id, its signals and its parent, so a supervisor such as systemd notices no difference.
//! The watcher is this program once more, holds no key (it is given whole datagrams, each sealed for one peer),
//! opens no file and ignores the signals that stop a service. When somebody ends it, another is started.
//!
//! It cannot help where it dies with the process that it watches: when a whole control group is killed, and when the
//! process is the first of its container. The peers wait for the lease then. What a process that forks does in the
//! child is not seen: start nodes after that.

mod child;
mod report;

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::last_words;

/// Set for the child, so that it knows what it is, as its name says too.
const VARIABLE: &str = "FUNK_WATCHER";
/// What a program needs to start at all, of all that this process was given.
const LIBRARIES: &str = "LD_LIBRARY_PATH";
/// Name of the child, as `ps` shows it.
const NAME: &str = "funk-watcher";
/// Pause before a watcher that has ended is replaced. It doubles up to [`PAUSE_MAX`] while they do not last.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Time for the watcher to take a report; one that does not is replaced.
const WRITE_MAX: Duration = Duration::from_secs(5);

/// Why no watcher was started. The node works without one, and its peers wait for the lease after a crash.
#[derive(Debug)]
#[non_exhaustive]
pub enum NoWatcher {
    /// The operating system has no process descriptors: it is not Linux 5.3 or later.
    Unsupported,
    /// This process is the first of its container: all others end with it.
    FirstProcess,
    /// The operating system refused to start it.
    Io(io::Error),
}

impl fmt::Display for NoWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported => f.write_str("this operating system has no process descriptors"),
            Self::FirstProcess => f.write_str("this is process 1, with which all others end"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NoWatcher {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Unsupported | Self::FirstProcess => None,
        }
    }
}

impl From<io::Error> for NoWatcher {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Starts a watcher for all nodes of this process. To be called first in `main`: the watcher is this program once
/// more, and does what comes before this call too. A second call does nothing.
///
/// # Errors
/// [`NoWatcher`]: nothing was started.
pub fn start() -> Result<(), NoWatcher> {
    run_if_started_as_one();
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if *started {
        return Ok(());
    }
    if rustix::process::getpid().is_init() {
        return Err(NoWatcher::FirstProcess);
    }
    child::supported()?;
    let first = Watcher::spawn()?;
    std::thread::Builder::new().name("watcher".into()).spawn(move || keep(first))?;
    *started = true;
    Ok(())
}

/// Does the watcher's work, and never returns, in a process that was started as one. For programs that read their
/// flags before they call [`start`]: this comes before the flags then, since a watcher has none.
pub fn run_if_started_as_one() {
    if std::env::var_os(VARIABLE).is_some() && std::env::args_os().next().is_some_and(|name| name == NAME) {
        child::run();
    }
}

static STARTED: Mutex<bool> = Mutex::new(false);

/// A running child, and the way to it.
#[derive(Debug)]
struct Watcher {
    child: Child,
    stream: UnixStream,
}

impl Watcher {
    fn spawn() -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_write_timeout(Some(WRITE_MAX))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0(NAME).arg(rustix::process::getpid().as_raw_nonzero().to_string());
        command.env_clear().env(VARIABLE, "1").envs(std::env::var_os(LIBRARIES).map(|path| (LIBRARIES, path)));
        command.current_dir("/");
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        // A terminal sends its signals to a whole group.
        command.process_group(0);
        Ok(Self { child: command.spawn()?, stream: ours })
    }

    /// Reports until the child has ended, or does not listen.
    fn report(&mut self) -> io::Result<()> {
        let mut stream = self.stream.try_clone()?;
        let listener = std::thread::Builder::new().name("watcher-end".into()).spawn(move || {
            // It says nothing: this returns when it has ended.
            while stream.read(&mut [0; 64]).is_ok_and(|length| length > 0) {}
            last_words::wake();
        })?;
        let mut seen = None;
        while !listener.is_finished() {
            let (version, nodes) = last_words::next(seen);
            let words = nodes.iter().flat_map(|words| words.reaped()).collect();
            self.stream.write_all(&report::encode(&words))?;
            if seen.replace(version).is_none() {
                tracing::info!(pid = self.child.id(), "a watcher tells the others if this process is killed");
            }
        }
        Ok(())
    }

    fn end(mut self) {
        // One that does not listen is no use; one that has ended is only collected.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps a watcher running as long as this process does.
fn keep(first: Watcher) {
    let mut pause = PAUSE;
    let mut next = Ok(first);
    loop {
        let began = Instant::now();
        match next {
            Ok(mut watcher) => {
                let _ = watcher.report();
                watcher.end();
                tracing::warn!(again_in = ?pause, "the watcher has ended: a crash now is noticed by silence only");
            }
            Err(error) => {
                tracing::warn!(%error, again_in = ?pause, "no watcher can be started: a crash now is noticed by silence only")
            }
        }
        std::thread::sleep(pause);
        pause = if began.elapsed() > PAUSE_MAX * 2 { PAUSE } else { (pause * 2).min(PAUSE_MAX) };
        next = Watcher::spawn();
    }
}
