//! What systemd hears of a node: it is operational, it lives, it stops. A socket of the test stands in for systemd.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use funk_tests::blackbox::cluster::{GENEROUS, demo_command};
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::{Tested, scratch};
use rustix::process::Signal;

/// What the unit's `WatchdogSec` comes to, in microseconds.
const WATCHDOG_USEC: &str = "300000";

/// A node, and the socket on which it is heard.
struct Service {
    node: Process,
    socket: UnixDatagram,
}

impl Service {
    fn start(label: &str, arguments: &[&str]) -> Result<Self, String> {
        let dir = scratch(label)?;
        let path = dir.join("notify");
        let socket = UnixDatagram::bind(&path).map_err(|error| format!("cannot bind: {error}"))?;
        socket.set_read_timeout(Some(Duration::from_millis(100))).map_err(|error| error.to_string())?;
        let mut command = demo_command(&format!("{label}-{}", std::process::id()))?;
        command.args(["--node-id", "n1"]).args(arguments);
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", WATCHDOG_USEC);
        Ok(Self { node: Process::start("n1", command, &dir)?, socket })
    }

    /// Everything that is said up to the `count`th time that the node says `line`.
    fn hear(&self, line: &str, count: usize) -> Result<Vec<String>, String> {
        let (mut heard, mut bytes, until) = (Vec::<String>::new(), [0; 4096], Instant::now() + GENEROUS);
        while heard.iter().filter(|said| *said == line).count() < count {
            if Instant::now() > until {
                return Err(format!("no {line} {count} times, but {heard:?}\n{}", self.node.tail()));
            }
            if let Ok(length) = self.socket.recv(&mut bytes) {
                heard.extend(String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned));
            }
        }
        Ok(heard)
    }
}

#[test]
fn a_node_says_when_it_is_operational_that_it_lives_and_when_it_stops() -> Tested {
    for (label, arguments) in [("systemd", &["--bootstrap"][..]), ("systemd-bare", &["--bootstrap", "--guard=false"])] {
        let mut service = Service::start(label, arguments)?;
        service.hear("READY=1", 1)?;
        service.hear("WATCHDOG=1", 3)?;
        service.node.signal(Signal::TERM);
        service.hear("STOPPING=1", 1)?;
        assert_eq!(service.node.wait(GENEROUS)?.code(), Some(0), "{}", service.node.tail());
    }
    Ok(())
}

#[test]
fn a_node_that_waits_for_its_cluster_lives_and_is_not_ready() -> Tested {
    let service = Service::start("systemd-alone", &["--join", "127.0.0.1:1"])?;
    let heard = service.hear("WATCHDOG=1", 5)?;
    assert!(heard.iter().all(|said| said == "WATCHDOG=1"), "{heard:?}");
    Ok(())
}

#[test]
fn a_driver_that_stands_still_is_not_vouched_for() -> Tested {
    let service = Service::start("systemd-still", &["--bootstrap"])?;
    service.hear("WATCHDOG=1", 2)?;
    service.node.signal(Signal::STOP);
    // What was sent before the process stood still is read first.
    while service.socket.recv(&mut [0; 4096]).is_ok() {}
    assert!(service.socket.recv(&mut [0; 4096]).is_err(), "a process that stands still is heard");
    service.node.signal(Signal::CONT);
    service.hear("WATCHDOG=1", 2)?;
    Ok(())
}
