//! What systemd is told of a node that it started: that it is operational, that it stops, and that its driver answers.
//! Without systemd, nothing is sent.

use std::time::Duration;

use funk_io::Cluster;
use futures_lite::future::block_on;
use sd_notify::NotifyState;

use crate::Failure;

/// The node serves, or would if it owned a shard: units that wait for it may start.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The node has been told to stop.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells systemd that the node lives for as long as its driver answers, if the unit has `WatchdogSec`. A driver that
/// hangs no longer does, and systemd starts the node again.
///
/// # Errors
/// No thread can be started.
pub fn keep_watch(cluster: &Cluster) -> Result<(), Failure> {
    let Some(patience) = watchdog() else { return Ok(()) };
    let cluster = cluster.clone();
    let started = std::thread::Builder::new().name("watchdog".into()).spawn(move || {
        while block_on(cluster.status()).is_ok() {
            tell(&[NotifyState::Watchdog]);
            std::thread::sleep(patience / 3);
        }
    });
    started.map(|_| ()).map_err(|error| Failure(format!("no thread for the watchdog: {error}")))
}

/// How long systemd waits for a sign of life, if it waits for this process.
fn watchdog() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let of = number("WATCHDOG_PID");
    let is_ours = of.is_none_or(|of| of == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|&usec| is_ours && usec > 0).map(Duration::from_micros)
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told how the node is");
    }
}
