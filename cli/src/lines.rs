//! Lines on stdout and stderr that harm nobody who writes them.
//!
//! Whoever reads a program's log may be slow, gone, or out of disk. A thread of its own writes; what does not
//! fit in front of it, and what cannot be written, is lost and counted. Nobody waits for it but the end of the
//! process, and that only for a moment.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Lines that wait for a reader, on one stream: a burst of some hundred is usual, thousands mean that nobody reads.
const LINES_MAX: usize = 4_096;
/// Bytes of one line: longer ones are cut. With the lines it bounds what waits to 32 MiB.
const LINE_BYTES_MAX: usize = 8 << 10;
/// Time at the end of the process for what still waits.
const FLUSH_MAX: Duration = Duration::from_millis(300);
/// Time between two looks at a stream that took nothing, to say how much it missed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A stream behind a thread that writes to it.
#[derive(Debug)]
pub(crate) struct Lines {
    sender: SyncSender<Vec<u8>>,
    waiting: Arc<Waiting>,
}

/// What was handed in and neither written nor lost.
#[derive(Debug, Default)]
struct Waiting {
    counts: Mutex<Counts>,
    empty: Condvar,
}

#[derive(Debug, Default)]
struct Counts {
    waiting: usize,
    /// Lost since it was told last.
    lost: u64,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn done(&self, written: bool) {
        let mut counts = self.lock();
        counts.waiting -= 1;
        counts.lost += u64::from(!written);
        if counts.waiting == 0 {
            self.empty.notify_all();
        }
    }
}

impl Lines {
    /// Lines that go to `stream`. `lost_line` says how many were lost, once lines come through again.
    fn to(stream: impl Write + AsFd + Send + 'static, name: &str, lost_line: fn(u64) -> String) -> Self {
        let (sender, lines) = sync_channel(LINES_MAX);
        let waiting: Arc<Waiting> = Arc::default();
        let counted = Arc::clone(&waiting);
        // Without the thread every line is lost, and the program lives on.
        let _ =
            std::thread::Builder::new().name(name.into()).spawn(move || write_all(stream, &lines, &counted, lost_line));
        Self { sender, waiting }
    }

    /// Hands a line in; it is lost if too many wait.
    pub(crate) fn push(&self, mut line: Vec<u8>) {
        if line.len() > LINE_BYTES_MAX {
            line.truncate(LINE_BYTES_MAX);
            line.push(b'\n');
        }
        self.waiting.lock().waiting += 1;
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.sender.try_send(line) {
            self.waiting.done(false);
        }
    }

    /// Waits for what was handed in, for a moment.
    fn flush(&self, within: Duration) {
        let counts = self.waiting.lock();
        let waits = |counts: &mut Counts| counts.waiting > 0;
        let _ = self.waiting.empty.wait_timeout_while(counts, within, waits);
    }
}

fn write_all(
    mut stream: impl Write + AsFd,
    lines: &Receiver<Vec<u8>>,
    waiting: &Waiting,
    lost_line: fn(u64) -> String,
) {
    loop {
        // Lines are lost while more of them wait, or by what is written here: without a loss there is nothing to
        // tell before the next line.
        let wait =
            if waiting.lock().lost > 0 { lines.recv_timeout(LOOK_EVERY) } else { lines.recv().map_err(Into::into) };
        let line = match wait {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let lost = std::mem::take(&mut waiting.lock().lost);
        if lost > 0 && write_line(&mut stream, lost_line(lost).as_bytes()).is_err() {
            waiting.lock().lost += lost;
        }
        if let Some(line) = line {
            let written = write_line(&mut stream, &line).is_ok();
            waiting.done(written);
        }
    }
}

/// Writes one line, waiting for a stream that is full as long as it stays so.
fn write_line(stream: &mut (impl Write + AsFd), mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match stream.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => line = &line[length..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Its other holder made it non-blocking, and it is full.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut fds = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::OUT)];
                poll(&mut fds, Some(&Timespec { tv_sec: 1, tv_nsec: 0 }))?;
            }
            Err(error) => return Err(error),
        }
    }
    stream.flush()
}

/// Unbuffered: what is written is written.
struct Raw<S>(S);

impl<S: AsFd> Write for Raw<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.0.as_fd(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: AsFd> AsFd for Raw<S> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

static STDERR: LazyLock<Lines> = LazyLock::new(|| {
    Lines::to(Raw(io::stderr()), "stderr", |lost| format!("{lost} log lines were lost: stderr did not take them\n"))
});

static STDOUT: LazyLock<Lines> = LazyLock::new(|| Lines::to(Raw(io::stdout()), "stdout", |_| String::new()));

/// Writes a line to stdout, after all before it; nobody may be reading.
pub fn say(line: &str) {
    STDOUT.push(format!("{line}\n").into_bytes());
}

/// Writes a line to stderr, after all before it, whatever has become of stderr.
pub fn complain(line: &str) {
    STDERR.push(format!("{line}\n").into_bytes());
}

/// Puts a piece of text on stderr as it is, such as a part of the log.
pub fn show(text: Vec<u8>) {
    STDERR.push(text);
}

/// Writes what a program was asked for to stdout, all of it: whoever reads it sets the pace, and may go away
/// before the end.
pub fn print(text: &str) {
    let _ = write_line(&mut Raw(io::stdout()), text.as_bytes());
}

/// Waits a moment for what was said so far to be written. The last thing that a program does.
pub fn flush() {
    let until = Instant::now() + FLUSH_MAX;
    for lines in [&STDERR, &STDOUT] {
        lines.flush(until.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn lines(stream: UnixStream) -> Lines {
        Lines::to(Raw(stream), "lines", |lost| format!("lost {lost}\n"))
    }

    #[test]
    fn a_reader_that_is_gone_costs_lines_and_nothing_else() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let lines = lines(ours);
        for _ in 0..10 {
            lines.push(b"line\n".to_vec());
        }
        lines.flush(Duration::from_secs(60));
        let counts = lines.waiting.lock();
        assert_eq!((counts.waiting, counts.lost), (0, 10));
    }

    #[test]
    fn a_device_that_is_full_costs_lines_and_nothing_else() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let lines = Lines::to(Raw(full), "lines", |lost| format!("lost {lost}\n"));
        lines.push(b"line\n".to_vec());
        lines.flush(Duration::from_secs(60));
        assert_eq!(lines.waiting.lock().lost, 1);
    }

    /// The same for a stream that blocks and for one that says that it would.
    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up_and_hears_what_it_missed() {
        for nonblocking in [false, true] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(nonblocking).unwrap();
            let lines = lines(ours);
            let line = [b"x".repeat(1_000), b"\n".to_vec()].concat();
            for _ in 0..3 * LINES_MAX {
                lines.push(line.clone());
            }
            let lost = lines.waiting.lock().lost;
            assert!(lost > 0, "not all of them have room");
            let mut read = Vec::new();
            let mut buffer = [0; 1 << 16];
            let told = |read: &[u8]| read.windows(5).any(|part| part == b"lost ");
            while !told(&read) {
                let length = theirs.read(&mut buffer).unwrap();
                read.extend_from_slice(&buffer[..length]);
            }
            drop(theirs);
            lines.flush(Duration::from_secs(60));
            assert_eq!(lines.waiting.lock().waiting, 0);
        }
    }

    #[test]
    fn a_long_line_is_cut() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let lines = lines(ours);
        lines.push(vec![b'x'; 3 * LINE_BYTES_MAX]);
        let mut read = vec![0; LINE_BYTES_MAX + 1];
        theirs.read_exact(&mut read).unwrap();
        assert_eq!(read.last(), Some(&b'\n'));
    }
}
