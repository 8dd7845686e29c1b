//! A child process: its standard output as timed lines, its standard error in
//! a log file, its end by signal. It never outlives the value.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::wait_for;

/// Bytes of a log that are shown when something failed.
const TAIL_BYTES: u64 = 3_000;

/// A running (or ended) child process.
pub struct Process {
    name: String,
    child: Child,
    started: Instant,
    output: Arc<Output>,
    log: PathBuf,
}

/// A line of standard output and when it was read.
#[derive(Clone, Debug)]
pub struct Line {
    /// When.
    pub at: Instant,
    /// The line without its end.
    pub text: String,
}

#[derive(Default)]
struct Output {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<Line>,
    ended: bool,
}

impl Process {
    /// Starts `command` with its standard error in `<dir>/<name>.log`.
    ///
    /// # Errors
    /// When the log cannot be made or the program cannot be started.
    pub fn start(name: &str, mut command: Command, dir: &Path) -> Result<Self, String> {
        let log = dir.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|error| format!("cannot write {}: {error}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        let started = Instant::now();
        let mut child = command.spawn().map_err(|error| format!("cannot start {name}: {error}"))?;
        let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
        let output = Arc::new(Output::default());
        let sink = Arc::clone(&output);
        std::thread::spawn(move || sink.read(BufReader::new(stdout)));
        Ok(Self { name: name.into(), child, started, output, log })
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Its log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Every line of standard output so far.
    pub fn lines(&self) -> Vec<Line> {
        self.output.lock().lines.clone()
    }

    /// The first line that begins with `prefix`.
    ///
    /// # Errors
    /// When standard output ended, or `within` passed, without one.
    pub fn line(&self, prefix: &str, within: Duration) -> Result<Line, String> {
        let deadline = Instant::now() + within;
        let mut state = self.output.lock();
        loop {
            if let Some(line) = state.lines.iter().find(|line| line.text.starts_with(prefix)) {
                return Ok(line.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                let why = if state.ended { "it ended its output" } else { "time ran out" };
                drop(state);
                return Err(format!("{}: no line `{prefix}…`, {why}\n{}", self.name, self.tail()));
            }
            state = self.output.changed.wait_timeout(state, left).expect("no reader panics").0;
        }
    }

    /// Its process id, for system calls.
    pub fn rustix_pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The process that it started, if it has one: a node's watcher.
    pub fn child(&self) -> Option<Pid> {
        // A child is listed with the thread that started it.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).ok()?;
        let lists = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        Pid::from_raw(lists.collect::<String>().trim().parse().ok()?)
    }

    /// Sends a signal. One that is gone already is left alone.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // The child is reaped only through this value, so its id is not
            // another process's yet; an error means that it has ended.
            let _ = kill_process(pid, signal);
        }
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it has ended and all that it said is in [`Process::lines`].
    ///
    /// # Errors
    /// When it still runs after `within`, with the end of its log.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus, String> {
        let ended = wait_for("the process to end", within, || self.ended().ok_or_else(|| "it runs".to_string()));
        let status = ended.map_err(|error| format!("{}: {error}\n{}", self.name, self.tail()))?;
        self.output.wait_for_end();
        Ok(status)
    }

    /// The last lines of standard error, headed by its name.
    pub fn tail(&self) -> String {
        let text = read_tail(&self.log).unwrap_or_else(|error| format!("(no log: {error})"));
        format!("--- end of the log of {} ---\n{text}\n---", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
        if self.ended().is_none() {
            self.signal(Signal::CONT);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({}, pid {})", self.name, self.pid())
    }
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no reader panics")
    }

    /// The pipe closes with the last process that holds it, so this ends soon
    /// after the child did.
    fn wait_for_end(&self) {
        let state = self.lock();
        drop(self.changed.wait_while(state, |state| !state.ended).expect("no reader panics"));
    }

    fn read(&self, from: impl BufRead) {
        for text in from.lines().map_while(Result::ok) {
            self.lock().lines.push(Line { at: Instant::now(), text });
            self.changed.notify_all();
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

fn read_tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_string())
}

/// Where a program of the system is, if it is installed; not everybody's path leads to all of them.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into(), "/sbin".into()]);
    dirs.map(|dir| dir.join(name)).find(|program| program.is_file())
}
