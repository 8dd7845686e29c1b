//! The thread on which a source works that has to block: it asks, waits and
//! asks again until its source is dropped.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::Duration;

use super::{Found, Next, Source};

/// Findings that wait to be taken; a source that finds more waits too.
const FINDINGS_QUEUED_MAX: usize = 256;

/// Where the thread puts what it found.
pub(super) struct Sink {
    findings: async_channel::Sender<Found>,
    dropped: Receiver<()>,
}

impl Sink {
    /// Hands over what was found; false if nobody wants it any more.
    pub(super) fn push(&self, found: Found) -> bool {
        self.findings.send_blocking(found).is_ok()
    }

    /// Whether nobody wants any findings any more.
    pub(super) fn is_dropped(&self) -> bool {
        self.findings.is_closed()
    }

    /// Waits; false if the source was dropped meanwhile.
    pub(super) fn pause(&self, length: Duration) -> bool {
        matches!(self.dropped.recv_timeout(length), Err(RecvTimeoutError::Timeout))
    }
}

/// A source that works on threads of its own.
pub(super) struct Feed {
    name: String,
    findings: async_channel::Receiver<Found>,
    sender: async_channel::Sender<Found>,
    alive: Vec<Sender<()>>,
}

impl Feed {
    pub(super) fn new(name: String) -> Self {
        let (sender, findings) = async_channel::bounded(FINDINGS_QUEUED_MAX);
        Self { name, findings, sender, alive: Vec::new() }
    }

    /// Lets `work` run on a thread of its own. It ends once it is told that nobody listens.
    pub(super) fn work(&mut self, thread: &str, work: impl FnOnce(&Sink) + Send + 'static) -> io::Result<()> {
        let (alive, dropped) = channel();
        let sink = Sink { findings: self.sender.clone(), dropped };
        Builder::new().name(thread.into()).spawn(move || work(&sink))?;
        self.alive.push(alive);
        Ok(())
    }
}

impl Source for Feed {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn next(&mut self) -> Next<'_> {
        Box::pin(async {
            match self.findings.recv().await {
                Ok(found) => found,
                // A sender is kept here, so the channel never ends.
                Err(_) => std::future::pending().await,
            }
        })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.findings.close();
    }
}
