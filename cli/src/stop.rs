//! The signals that end a program.

use std::io;

pub use funk_rpc::Stop;

/// A bell that the first signal to stop rings. The second ends the process at once, after what it said is written.
///
/// # Errors
/// As [`Stop::on_signals`].
pub fn stop_on_signals() -> io::Result<Stop> {
    Stop::on_signals_then(crate::flush)
}
