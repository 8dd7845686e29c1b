//! The signals that end a program.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use event_listener::Event as Bell;

/// Rung by the first signal to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(AtomicBool, Bell)>);

impl Stop {
    /// Rings at the first SIGTERM or SIGINT; the second ends the process at once.
    ///
    /// # Errors
    /// The operating system's.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        let rung = stop.clone();
        let mut signals = signal_hook::iterator::Signals::new(signal_hook::consts::TERM_SIGNALS)?;
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for _ in signals.forever() {
                if rung.0.0.swap(true, Ordering::SeqCst) {
                    crate::flush();
                    std::process::exit(1);
                }
                rung.0.1.notify(usize::MAX);
            }
        })?;
        Ok(stop)
    }

    /// Rings like a first signal.
    pub fn ring(&self) {
        self.0.0.store(true, Ordering::SeqCst);
        self.0.1.notify(usize::MAX);
    }

    /// Ends with the first signal, at once if there was one already.
    pub async fn rung(&self) {
        loop {
            let listener = self.0.1.listen();
            if self.0.0.load(Ordering::SeqCst) {
                return;
            }
            listener.await;
        }
    }
}
