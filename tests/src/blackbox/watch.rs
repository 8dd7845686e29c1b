//! Watches the status of several nodes at once: one thread each, which asks
//! again and again and reports what changed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::http::Client;
use super::status::{Status, fetch};

/// The time between two questions while every millisecond counts.
pub const FAST: Duration = Duration::from_millis(2);

/// The time between two questions while nothing should happen.
pub const SLOW: Duration = Duration::from_millis(50);

/// A watch over nodes; ends with the value.
#[derive(Debug)]
pub struct Watch {
    changes: Receiver<Change>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    interval_nanos: AtomicU64,
}

/// What a node said that it had not said before.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which: its place in the list that the watch was given.
    pub node: usize,
    /// When the answer had arrived.
    pub at: Instant,
    /// The status, or why there is none.
    pub status: Result<Status, String>,
}

impl Watch {
    /// Starts to watch the nodes whose status pages are at these addresses.
    pub fn start(addresses: &[SocketAddr]) -> Self {
        let interval_nanos = AtomicU64::new(nanos(FAST));
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), interval_nanos });
        let (sender, changes) = channel();
        for (node, address) in addresses.iter().copied().enumerate() {
            let (sender, shared) = (sender.clone(), Arc::clone(&shared));
            std::thread::spawn(move || watch_node(node, address, &sender, &shared));
        }
        Self { changes, shared }
    }

    /// Asks this often from now on.
    pub fn set_interval(&self, interval: Duration) {
        self.shared.interval_nanos.store(nanos(interval), Ordering::Relaxed);
    }

    /// The next change; `None` when none came within the time.
    pub fn next(&self, within: Duration) -> Option<Change> {
        self.changes.recv_timeout(within).ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn watch_node(node: usize, address: SocketAddr, sender: &Sender<Change>, shared: &Shared) {
    let mut client = Client::new(address, Duration::from_secs(2));
    let mut last: Option<Result<Status, String>> = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let status = fetch(&mut client);
        if last.as_ref() != Some(&status) {
            last = Some(status.clone());
            if sender.send(Change { node, at: Instant::now(), status }).is_err() {
                return;
            }
        }
        std::thread::sleep(Duration::from_nanos(shared.interval_nanos.load(Ordering::Relaxed)));
    }
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}
