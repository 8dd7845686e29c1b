//! Examples as processes, in a network of their own.

use std::io::{Error, Read};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};

/// Set for a test that has a network of its own.
const ALONE: &str = "GREETER_TEST_ALONE";

/// A host's network: loopback, and one more interface.
const NETWORK: &str = "ip link set lo up && ip link add eth0 type veth peer name eth1 && ip link set eth1 up && \
    ip address add 10.77.0.1/24 dev eth0 && ip link set eth0 up";

/// An example that is ended with the test, however that ends.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Result<Self, Error> {
        Command::new(program).args(arguments).stderr(Stdio::piped()).spawn().map(Self)
    }

    pub(crate) fn id(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).expect("it runs");
    }

    /// Waits for its end: the exit code, and what it said on standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        let stderr = self.0.stderr.take().expect("it is a pipe");
        std::io::BufReader::new(stderr).read_to_string(&mut said).expect("it can be read");
        (self.0.wait().expect("it is a child of this process").code(), said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether this process has a network of its own. If not, the test runs once more in one,
/// or is skipped where none can be made, which fails in continuous integration.
pub(crate) fn has_a_network_of_its_own(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let within = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(if geteuid().is_root() { &["--net"][..] } else { &["--map-root-user", "--net"] });
        command.args(["--", "sh", "-c", script, "sh"]);
        command
    };
    if !within(NETWORK).status().is_ok_and(|status| status.success()) {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{test}: no network namespace can be made here");
        eprintln!("*** SKIPPED: {test}: no network namespace can be made here");
        return false;
    }
    let this = std::env::current_exe().expect("a test knows where it is");
    let mut again = within(&format!("{NETWORK} && exec \"$@\""));
    let ended = again.arg(this).args(["--exact", test, "--nocapture"]).env(ALONE, "1").status();
    assert!(ended.expect("it starts").success(), "{test} failed in a network of its own");
    false
}
