//! Standard output that may be closed before all is said: `sim | head` ends quietly, with the run's own exit code.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Where lines go as long as somebody reads them.
#[derive(Debug, Default)]
pub(crate) struct Out<W> {
    to: W,
    closed: bool,
}

impl Out<io::BufWriter<io::Stdout>> {
    pub(crate) fn stdout() -> Self {
        Self::new(io::BufWriter::new(io::stdout()))
    }
}

impl<W: Write> Out<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, closed: false }
    }

    /// Whether the reader is gone, so that nothing more needs to be said.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn line(&mut self, line: impl Display) {
        if !self.closed {
            let said = writeln!(self.to, "{line}");
            self.note(said);
        }
    }

    pub(crate) fn flush(&mut self) {
        if !self.closed {
            let flushed = self.to.flush();
            self.note(flushed);
        }
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.closed = true;
            if error.kind() != ErrorKind::BrokenPipe {
                eprintln!("sim: standard output: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes and is closed then.
    struct Pipe(usize);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_ends_the_lines_and_nothing_else() {
        let mut out = Out::new(Pipe(8));
        out.line("abc");
        assert!(!out.is_closed());
        (0..10).for_each(|_| out.line("def"));
        out.flush();
        assert!(out.is_closed());
    }
}
