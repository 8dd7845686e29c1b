//! The switch of the thread that finds other nodes.

use std::sync::atomic::{AtomicBool, Ordering};

use event_listener::Event as Notify;

/// Stops the search, and says when it has ended.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    stop: AtomicBool,
    stopping: Notify,
    runs: AtomicBool,
}

impl Switch {
    /// No more is searched, and what was registered is withdrawn.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.stopping.notify(usize::MAX);
    }

    /// Whether the thread is there, and with it perhaps a registration.
    pub(crate) fn runs(&self) -> bool {
        self.runs.load(Ordering::SeqCst)
    }

    pub(super) async fn stopping(&self) {
        loop {
            let stopping = self.stopping.listen();
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            stopping.await;
        }
    }

    /// Notes whether the thread is there.
    pub(super) fn set_runs(&self, runs: bool) {
        self.runs.store(runs, Ordering::SeqCst);
    }
}
