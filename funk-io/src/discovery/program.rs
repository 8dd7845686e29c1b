//! A program that prints where nodes are: the command line tool of a cloud, or a script around it.
//!
//! It is run again and again, and may do anything: hang, flood, fail, print garbage. It has a bounded time and a bounded
//! output, and is ended with all that it started when it goes beyond them, or when its answer is no longer wanted.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::repeat::{Answer, Pace};

/// Time that the program may take. A cloud's tool answers in one to three seconds.
const RUN_MAX: Duration = Duration::from_secs(10);
/// Bytes that it may print: some thousand addresses.
const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// Bytes of what it says on stderr of which the first line is shown.
const COMPLAINT_BYTES_MAX: usize = 1 << 10;
/// Characters of a line that is shown.
const LINE_SHOWN_MAX: usize = 80;
/// Between two looks whether its answer is still wanted.
const LOOK: Duration = Duration::from_millis(100);
/// The port of an address that is printed without one: Serf's.
const SERF_PORT: u16 = 7946;

/// Clouds bound how often they are asked, by all nodes together.
pub(super) const PACE: Pace = Pace {
    retry_min: Duration::from_secs(1),
    retry_max: Duration::from_secs(30),
    again: Some(Duration::from_secs(30)),
    reminds: false,
};

/// Runs the program once. Blocks until it has answered, its time is over, or its answer is no longer wanted.
pub(super) fn ask(path: &str, is_wanted: impl Fn() -> bool) -> Answer {
    match run(path, RUN_MAX, is_wanted) {
        Ok(output) => read(&String::from_utf8_lossy(&output)),
        Err(why) => Answer { addresses: Vec::new(), complaint: Some(why) },
    }
}

/// What the program prints, if it ends well and in time.
fn run(path: &str, most: Duration, is_wanted: impl Fn() -> bool) -> Result<Vec<u8>, String> {
    let until = Instant::now() + most;
    let cannot = |error: io::Error| format!("it cannot be run: {error}");
    let mut running = Running::start(path).map_err(cannot)?;
    let (stdout, stderr) = running.pipes();
    let (output, words) = (collect(stdout, Some(OUTPUT_BYTES_MAX)), collect(stderr, None));
    let (output, words) = (output.map_err(cannot)?, words.map_err(cannot)?);
    let late = || format!("it has not ended after {} s", most.as_secs_f32());
    let output = loop {
        match output.recv_timeout(LOOK) {
            Ok(output) => break output,
            Err(RecvTimeoutError::Timeout) if Instant::now() < until && is_wanted() => {}
            Err(_) => return Err(late()),
        }
    };
    if output.len() > OUTPUT_BYTES_MAX {
        return Err(format!("it prints more than {} KiB", OUTPUT_BYTES_MAX >> 10));
    }
    let status = running.end(until).ok_or_else(late)?;
    if status.success() {
        return Ok(output);
    }
    let words = words.recv_timeout(until.saturating_duration_since(Instant::now())).unwrap_or_default();
    let words = String::from_utf8_lossy(&words);
    let first = words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it says nothing");
    Err(format!("it failed ({status}): {}", shown(first)))
}

/// A process and all that it started; ended when this goes.
struct Running {
    child: Child,
    has_ended: bool,
}

impl Running {
    fn start(path: &str) -> io::Result<Self> {
        let mut command = Command::new(path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // What the node says to systemd is not the program's to say.
        command.env_remove("NOTIFY_SOCKET");
        Ok(Self { child: command.process_group(0).spawn()?, has_ended: false })
    }

    fn pipes(&mut self) -> (impl Read + Send + 'static, impl Read + Send + 'static) {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        (stdout.expect("it is piped"), stderr.expect("it is piped"))
    }

    /// How it ended. What it prints has ended, so the process will.
    fn end(&mut self, until: Instant) -> Option<ExitStatus> {
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.has_ended = true;
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended {
            // Nobody has waited for it, so the number is still that of its group.
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Reads on a thread of its own, to the end; with a bound, to the first byte beyond it, after which the pipe breaks.
fn collect(mut pipe: impl Read + Send + 'static, bound: Option<usize>) -> io::Result<Receiver<Vec<u8>>> {
    let (sender, receiver) = channel();
    Builder::new().name("funk-program".into()).spawn(move || {
        let most = bound.map_or(COMPLAINT_BYTES_MAX, |bound| bound + 1);
        let mut kept = Vec::new();
        let _ = pipe.by_ref().take(most as u64).read_to_end(&mut kept);
        if bound.is_none() {
            let _ = io::copy(&mut pipe, &mut io::sink());
        }
        let _ = sender.send(kept);
    })?;
    Ok(receiver)
}

/// The addresses of an output, one a line; comments begin with `#`.
fn read(output: &str) -> Answer {
    let mut answer = Answer::default();
    let lines = output.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        match address(line) {
            Some(addresses) => answer.addresses.extend(addresses),
            None => {
                let why = || format!("it prints {}, which is no address: give IP, IP:PORT or HOST:PORT", shown(line));
                answer.complaint.get_or_insert_with(why);
            }
        }
    }
    if answer.addresses.is_empty() {
        answer.complaint.get_or_insert_with(|| "it prints no address".into());
    }
    answer.addresses.sort_unstable();
    answer.addresses.dedup();
    answer
}

fn address(line: &str) -> Option<Vec<SocketAddr>> {
    if let Ok(ip) = line.parse::<IpAddr>() {
        return Some(vec![SocketAddr::new(ip, SERF_PORT)]);
    }
    let found: Vec<SocketAddr> = line.to_socket_addrs().ok()?.filter(|address| address.port() != 0).collect();
    (!found.is_empty()).then_some(found)
}

fn shown(line: &str) -> String {
    format!("{:?}", line.chars().take(LINE_SHOWN_MAX).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    /// A script in a directory of the test's own.
    struct Script(PathBuf);

    impl Script {
        fn new(name: &str, body: &str) -> Self {
            let path = std::env::temp_dir().join(format!("funk-program-{}-{name}", std::process::id()));
            fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            Self(path)
        }

        fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for Script {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn answer(name: &str, body: &str) -> Answer {
        ask(Script::new(name, body).path(), || true)
    }

    fn complaint(name: &str, body: &str) -> String {
        let answer = answer(name, body);
        assert_eq!(answer.addresses, []);
        answer.complaint.unwrap()
    }

    #[test]
    fn addresses_come_one_a_line_with_or_without_a_port() {
        let Answer { addresses, complaint } =
            answer("good", "echo '# the fleet'; echo 10.0.0.2; echo; echo ' 10.0.0.1:7000 '; echo ::1");
        let expected = ["10.0.0.1:7000", "10.0.0.2:7946", "[::1]:7946"];
        assert_eq!(addresses, expected.map(|address| address.parse::<SocketAddr>().unwrap()));
        assert_eq!(complaint, None);
    }

    #[test]
    fn garbage_among_addresses_is_named_and_does_not_hide_them() {
        let Answer { addresses, complaint } = answer("mixed", "echo ADDRESS; echo 10.0.0.2");
        assert_eq!(addresses, ["10.0.0.2:7946".parse().unwrap()]);
        assert!(complaint.unwrap().contains("\"ADDRESS\""));
    }

    #[test]
    fn what_is_no_answer_says_why() {
        assert!(complaint("garbage", "head -c 300 /dev/urandom").contains("no address"));
        assert!(complaint("empty", "").contains("prints no address"));
        let failed = complaint("failed", "echo 10.0.0.1; echo 'no credentials' >&2; exit 3");
        assert!(failed.contains("3") && failed.contains("\"no credentials\""), "{failed}");
        assert!(complaint("flood", "yes 10.0.0.1").contains("more than 64 KiB"));
        assert!(ask("/no/such/program", || true).complaint.unwrap().contains("cannot be run"));
    }

    #[test]
    fn a_flood_of_complaints_holds_nothing_up() {
        let loud =
            "i=0; while [ $i -lt 20000 ]; do echo 'a long line of complaints' >&2; i=$((i+1)); done; echo 10.0.0.1";
        assert_eq!(answer("loud", loud).addresses, ["10.0.0.1:7946".parse().unwrap()]);
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_all_that_it_started() {
        // No other process has this argument.
        let seconds = format!("98765.{}", std::process::id());
        let script = Script::new("hangs", &format!("sleep {seconds} & sleep {seconds}"));
        let why = run(script.path(), Duration::from_millis(300), || true).unwrap_err();
        assert!(why.contains("not ended"), "{why}");
        let is_it = |entry: fs::DirEntry| {
            fs::read(entry.path().join("cmdline")).is_ok_and(|line| line.ends_with(format!("{seconds}\0").as_bytes()))
        };
        // The kernel ends them one after the other.
        while fs::read_dir("/proc").unwrap().flatten().any(is_it) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_program_whose_answer_nobody_wants_is_ended() {
        let script = Script::new("unwanted", "sleep 1000");
        assert!(ask(script.path(), || false).complaint.is_some());
    }
}
