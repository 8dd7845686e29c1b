//! The signals that end a program.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use event_listener::Event;
use signal_hook::consts::{SIGXFSZ, TERM_SIGNALS};
use signal_hook::iterator::Signals;

/// Rung once, by a signal or by the program itself. Clones are one bell.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Bell>);

#[derive(Debug, Default)]
struct Bell {
    rung: AtomicBool,
    event: Event,
}

impl Stop {
    /// One that only [`Stop::ring`] rings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rings at the first SIGTERM, SIGINT or SIGQUIT; the second ends the process at once, with exit code 1. A write
    /// past the process's limit on files, which is a signal too, becomes an error of the write.
    ///
    /// # Errors
    /// The operating system does not let the signals be caught, or gives no thread.
    pub fn on_signals() -> io::Result<Self> {
        Self::on_signals_then(|| {})
    }

    /// The same; `last` is called before a second signal ends the process.
    ///
    /// # Errors
    /// As [`Stop::on_signals`].
    pub fn on_signals_then(last: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let stop = Self::default();
        signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        let mut signals = Signals::new(TERM_SIGNALS)?;
        let rung = stop.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            let mut came = signals.forever();
            if came.next().is_some() {
                rung.ring();
            }
            came.next();
            last();
            std::process::exit(1);
        })?;
        Ok(stop)
    }

    /// Rings it.
    pub fn ring(&self) {
        self.0.rung.store(true, Ordering::SeqCst);
        self.0.event.notify(usize::MAX);
    }

    /// Ends when it is rung, at once if it was already.
    pub async fn rung(&self) {
        loop {
            let listener = self.0.event.listen();
            if self.0.rung.load(Ordering::SeqCst) {
                return;
            }
            listener.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_that_was_rung_is_heard_by_those_who_come_later() {
        let stop = Stop::new();
        stop.clone().ring();
        futures_lite::future::block_on(stop.rung());
    }
}
