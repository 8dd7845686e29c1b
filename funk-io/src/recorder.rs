//! The flight recorder: what goes into the node is kept in memory, and written to a file when something went wrong or
//! somebody asks.
//!
//! | file | what |
//! |---|---|
//! | this file | the recorder's options, and what is kept of it |
//! | `recorded` | a node that is recorded |
//! | `files` | the files, and how many of them are kept |

mod files;
mod recorded;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use async_channel::Sender;
use funk_proto::{Input, Node, NodeConfig, Output, Recovered, Request, Seed, Timestamp};
use funk_record::limits::RECORDER_BYTES;
use funk_record::{Dump, Payloads, Recorder};

use crate::limits::{RECORDING_AFTERMATH, RECORDING_PAUSE};

pub(crate) use recorded::RecordedNode;

/// What a node records of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecorderOptions {
    /// Bytes of memory for what went into the node; 0: nothing is recorded. Default: 32 MiB.
    pub bytes: usize,
    /// Where the files go. `None`: into `recordings` in the data directory; without one, recordings are written only
    /// when asked for, to the system's directory for temporary files.
    pub directory: Option<PathBuf>,
    /// Whether files hold what the application proposed and handed over, instead of bytes drawn from its hash.
    /// Default: no.
    pub payloads: bool,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        Self { bytes: RECORDER_BYTES, directory: None, payloads: false }
    }
}

/// A recording that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recording {
    /// The file.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// Whether it begins with the process, so that it can be replayed.
    pub whole: bool,
}

/// Why no recording was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordingError {
    /// The node was started without a recorder.
    Off,
    /// The file could not be written.
    Failed {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says.
        why: String,
    },
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("this node records nothing: start it with a recorder"),
            Self::Failed { path, why } => write!(f, "{}: {why}: make room, or give another directory", path.display()),
        }
    }
}

impl std::error::Error for RecordingError {}

/// The recorder of one node, and what becomes of its recordings. The driver writes to it; whoever asks for a file, and
/// a panic in any thread, read it.
#[derive(Debug)]
pub(crate) struct Tape {
    recorder: Mutex<Recorder>,
    name: String,
    /// Where files go that nobody asked for.
    directory: Option<PathBuf>,
    payloads: Payloads,
    /// A file is being written that nobody asked for.
    writing: AtomicBool,
    plan: Mutex<Plan>,
}

/// When the next file is to be written that nobody asks for.
#[derive(Debug, Default)]
struct Plan {
    due: Option<(Timestamp, &'static str)>,
    /// Not before this time.
    not_before: Timestamp,
    /// Why one is to be written when the driver has stopped.
    at_end: Option<&'static str>,
}

/// All tapes of this process, for a panic.
static ALL: LazyLock<Mutex<Vec<Weak<Tape>>>> = LazyLock::new(Mutex::default);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unix_nanos() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

impl Tape {
    /// The tape of a node that is started now with these; `None` if nothing is to be recorded. `data` is its data directory.
    pub(crate) fn begin(
        options: &RecorderOptions,
        data: Option<PathBuf>,
        config: &NodeConfig,
        recovered: &Recovered,
        seed: Seed,
        now: Timestamp,
    ) -> Option<Arc<Self>> {
        if options.bytes == 0 {
            return None;
        }
        let zero_ns = unix_nanos().saturating_sub(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX));
        let recorder = Recorder::new(config, recovered, seed, now, zero_ns, options.bytes);
        let tape = Arc::new(Self {
            recorder: Mutex::new(recorder),
            name: config.name.to_string(),
            directory: options.directory.clone().or_else(|| Some(data?.join("recordings"))),
            payloads: if options.payloads { Payloads::Kept } else { Payloads::Hashed },
            writing: AtomicBool::new(false),
            plan: Mutex::default(),
        });
        let mut all = lock(&ALL);
        all.retain(|tape| tape.strong_count() > 0);
        all.push(Arc::downgrade(&tape));
        Some(tape)
    }

    fn input(self: &Arc<Self>, now: Timestamp, node: &Node, input: &Input) {
        lock(&self.recorder).input(now, node, input);
        self.look(now);
    }

    fn request(&self, now: Timestamp, node: &Node, request: &Request) {
        lock(&self.recorder).request(now, node, request);
    }

    fn handled(&self, now: Timestamp, node: &Node) {
        lock(&self.recorder).handled(now, node);
    }

    fn output(&self, output: &Output) {
        lock(&self.recorder).output(output);
    }

    /// Something went wrong that a file should show, with what comes of it.
    fn note(&self, now: Timestamp, reason: &'static str) {
        let mut plan = lock(&self.plan);
        if self.directory.is_some() && plan.due.is_none() {
            plan.due = Some(((now + RECORDING_AFTERMATH).max(plan.not_before), reason));
        }
    }

    /// Begins to write the file that is due, on another thread.
    fn look(self: &Arc<Self>, now: Timestamp) {
        let mut plan = lock(&self.plan);
        let Some((_, reason)) = plan.due.take_if(|(due, _)| *due <= now) else { return };
        plan.not_before = now + RECORDING_PAUSE;
        drop(plan);
        if !self.writing.swap(true, Ordering::AcqRel) {
            let (tape, dump) = (Arc::clone(self), self.dump());
            let written = std::thread::Builder::new().name("funk-recording".into()).spawn(move || {
                tape.write_unasked(&dump, reason);
                tape.writing.store(false, Ordering::Release);
            });
            if let Err(error) = written {
                self.writing.store(false, Ordering::Release);
                tracing::warn!(node = %self.name, %error, "a recording cannot be written");
            }
        }
    }

    fn dump(&self) -> Dump {
        lock(&self.recorder).dump()
    }

    /// The node is about to stop for this: a file is written when it has.
    fn write_at_end(&self, reason: &'static str) {
        lock(&self.plan).at_end.get_or_insert(reason);
    }

    /// The driver has stopped, and its gate is closed: writes what is to be written then.
    pub(crate) fn end(&self) {
        let reason = lock(&self.plan).at_end.take();
        if let Some(reason) = reason {
            self.write_now(reason);
        }
    }

    /// Writes what is kept on the calling thread, if there is a place for files that nobody asked for.
    pub(crate) fn write_now(&self, reason: &str) {
        self.write_unasked(&self.dump(), reason);
    }

    fn write_unasked(&self, dump: &Dump, reason: &str) {
        let Some(directory) = &self.directory else { return };
        match files::write(directory, &self.name, dump, reason, unix_nanos(), self.payloads) {
            Ok((path, bytes)) => {
                tracing::info!(node = %self.name, path = %path.display(), bytes, reason, "a recording was written");
                files::tidy(directory, &self.name, false);
            }
            Err((path, error)) => {
                tracing::warn!(node = %self.name, path = %path.display(), %error, "a recording cannot be written");
            }
        }
    }

    /// Writes what is kept, on a thread of its own, into `directory` or where files go.
    pub(crate) fn write_asked(
        self: &Arc<Self>,
        directory: Option<PathBuf>,
        reply: Sender<Result<Recording, RecordingError>>,
    ) -> io::Result<()> {
        let directory = directory.or_else(|| self.directory.clone()).unwrap_or_else(std::env::temp_dir);
        let tape = Arc::clone(self);
        let thread = std::thread::Builder::new().name("funk-recording".into());
        let written = thread.spawn(move || {
            let dump = tape.dump();
            let written = files::write(&directory, &tape.name, &dump, files::ASKED, unix_nanos(), tape.payloads);
            files::tidy(&directory, &tape.name, true);
            let written = written.map(|(path, bytes)| Recording { path, bytes, whole: dump.is_whole() });
            // Who asked may be gone.
            let _ = reply
                .try_send(written.map_err(|(path, error)| RecordingError::Failed { path, why: error.to_string() }));
        });
        written.map(drop)
    }
}

/// A thread of this process panics: all tapes are written at once.
pub(crate) fn write_all(reason: &str) {
    let tapes: Vec<_> = lock(&ALL).iter().filter_map(Weak::upgrade).collect();
    tapes.iter().for_each(|tape| tape.write_now(reason));
}
