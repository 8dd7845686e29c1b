//! One shell that is typed into, command by command, as a reader of a page does.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// Ends what a command prints; no program of ours prints it.
const END: &str = "--- end of the command, code";

/// A shell, and whatever it was told to leave running. All of it ends with the value.
#[derive(Debug)]
pub struct Shell {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// The lines of its standard output.
    pub output: Vec<String>,
    /// Its exit code.
    pub code: i32,
}

impl Shell {
    /// A shell in `dir`; what goes to standard error is in `<dir>/shell.log`. It has a network of its own where
    /// the machine lets it, since pages name ports that others may use.
    ///
    /// # Errors
    /// When there is no `bash`, or the log cannot be made.
    pub fn start(dir: &Path) -> Result<Self, String> {
        let log = dir.join("shell.log");
        let errors = std::fs::File::create(&log).map_err(|error| format!("cannot write {}: {error}", log.display()))?;
        let mut child = bash()
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cannot start bash: {error}"))?;
        let input = child.stdin.take().expect("stdin was asked for as a pipe");
        let output = child.stdout.take().expect("stdout was asked for as a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, input, lines })
    }

    /// Types a command and waits until the shell asks for the next.
    ///
    /// # Errors
    /// When the shell has ended, or the command takes longer than `within`.
    pub fn run(&mut self, command: &str, within: Duration) -> Result<Typed, String> {
        // The marker gets a line of its own, whatever the command printed last.
        let typed = format!("{command}\nprintf '\\n%s %s\\n' '{END}' \"$?\"\n");
        self.input.write_all(typed.as_bytes()).map_err(|error| format!("`{command}`: {error}"))?;
        let deadline = Instant::now() + within;
        let mut output = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => match line.strip_prefix(END) {
                    Some(code) => {
                        if output.last().is_some_and(String::is_empty) {
                            output.pop();
                        }
                        let code = code.trim().parse().map_err(|_| format!("`{command}` ended with `{code}`"))?;
                        return Ok(Typed { output, code });
                    }
                    None => output.push(line),
                },
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("`{command}` takes longer than {within:?}; it printed {output:#?}"));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("the shell ended with `{command}`, which printed {output:#?}"));
                }
            }
        }
    }
}

/// A shell, in a new network namespace if one can be made.
fn bash() -> Command {
    let namespace = ["--map-root-user", "--net", "--"];
    let inside = Command::new("unshare").args(namespace).args(["ip", "link", "set", "lo", "up"]).output();
    if !inside.is_ok_and(|output| output.status.success()) {
        let mut bash = Command::new("bash");
        bash.arg("--norc");
        return bash;
    }
    let mut bash = Command::new("unshare");
    bash.args(namespace).args(["sh", "-c", "ip link set lo up && exec bash --norc"]);
    bash
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The shell is reaped below, so its group is still its own.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}
