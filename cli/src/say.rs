//! Lines on stdout.

use std::io::{self, Write};

/// Writes a line to stdout at once; nobody may be reading.
pub fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
