//! A supervisor: a process that starts a node as its child, waits for its end, and
//! tells the peers that it was reaped.
//!
//! A process that is killed says nothing, and its peers wait until they have
//! missed it and its lease has run out. Who waited for it knows better: a
//! process that `waitid` has reported runs nothing any more. So a plain
//! `kill -9` of a guarded node fails over at once, and as safely.
//!
//! ```text
//!  guard ──starts──> node
//!    <── last words, each time that they change ──   over the node's standard input, a pair of sockets
//!    ── ends when the guard does ──>
//! ```
//!
//! The guard holds no key: it is given whole datagrams, sealed for each peer.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use funk_proto::limits::{LIVENESS_DATAGRAM_BYTES_MAX, RAFT_MEMBERS_MAX};
use futures_lite::future;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::last_words::{LastWords, tell_reaped};

/// Set for a child that is to report to its guard.
const VARIABLE: &str = "FUNK_GUARDED";
/// Bytes of one report: a datagram and an address for each member.
const REPORT_BYTES_MAX: usize = RAFT_MEMBERS_MAX * (LIVENESS_DATAGRAM_BYTES_MAX + 64);

type Words = Vec<(SocketAddr, Bytes)>;

/// A node's process, and the guard's end of what it reports.
#[derive(Debug)]
pub struct Supervised {
    pid: Pid,
    child: Mutex<Option<Child>>,
    reader: Mutex<Option<JoinHandle<Words>>>,
}

impl Supervised {
    /// Starts `command`, which is to report by a [`Reporter`]. Its standard
    /// input is taken for that.
    ///
    /// # Errors
    /// The operating system's; nothing runs then.
    pub fn start(mut command: Command) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        command.env(VARIABLE, "1").stdin(OwnedFd::from(theirs));
        let child = command.spawn()?;
        // The command holds the other end too, and the end of the stream is to be the child's.
        drop(command);
        let pid = Pid::from_child(&child);
        let reader = std::thread::Builder::new().name("reports".into()).spawn(move || read_reports(ours))?;
        Ok(Self { pid, child: Mutex::new(Some(child)), reader: Mutex::new(Some(reader)) })
    }

    /// The node's process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Passes a signal on. A process that has ended is left alone, and so is whoever has its number since.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if child.is_some() {
            // It may have ended this moment; it is not reaped while this lock is held.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Waits for the end of the process, tells its peers, and gives its status.
    ///
    /// # Errors
    /// The operating system's, or that somebody waited already.
    pub fn wait(&self) -> io::Result<ExitStatus> {
        // Left waitable, so that its number stays its own for `signal`.
        while let Err(error) = waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            if error != rustix::io::Errno::INTR {
                return Err(error.into());
            }
        }
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Its end of the stream was closed before its end was reported, so the reader ends by itself.
        let words = reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
        tell_reaped(&words);
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        child.ok_or_else(|| io::Error::other("somebody waited for it already"))?.wait()
    }
}

/// Reads reports until the process ends; gives the last that is whole.
fn read_reports(mut from: UnixStream) -> Words {
    let mut last = Words::new();
    while let Ok(words) = read_report(&mut from) {
        last = words;
    }
    last
}

fn read_report(from: &mut impl Read) -> io::Result<Words> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| malformed())?;
    if length > REPORT_BYTES_MAX {
        return Err(malformed());
    }
    let mut report = vec![0; length];
    from.read_exact(&mut report)?;
    let mut words = Words::new();
    for line in report.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let line = std::str::from_utf8(line).map_err(|_| malformed())?;
        let (to, hex) = line.split_once(' ').ok_or_else(malformed)?;
        words.push((to.parse().map_err(|_| malformed())?, from_hex(hex).ok_or_else(malformed)?));
    }
    Ok(words)
}

/// A report: its length, then a line for each peer.
fn report(words: &Words) -> Vec<u8> {
    let mut lines = String::new();
    for (to, bytes) in words {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        lines.push_str(&format!("{to} {hex}\n"));
    }
    let length = u32::try_from(lines.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[..], lines.as_bytes()].concat()
}

fn from_hex(text: &str) -> Option<Bytes> {
    let digits = text.as_bytes();
    let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    if digits.len().is_multiple_of(2) { pairs.collect() } else { None }
}

/// The node's end: it reports to the guard that started this process.
#[derive(Debug)]
pub struct Reporter(UnixStream);

impl Reporter {
    /// The way to the guard; `None` in a process that has none.
    ///
    /// # Errors
    /// When standard input is not what a guard gives.
    pub fn of_this_process() -> io::Result<Option<Self>> {
        if std::env::var_os(VARIABLE).is_none() {
            return Ok(None);
        }
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        // Anything but a socket is refused here.
        stream.peer_addr()?;
        Ok(Some(Self(stream)))
    }

    /// Reports the node's last words to the guard, now and whenever they
    /// change, from a thread of its own. `gone` is called when the guard has
    /// ended: nobody would tell of this process's end any more.
    ///
    /// # Errors
    /// When a thread or a second handle on the stream cannot be made.
    pub fn start(self, words: LastWords, gone: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut incoming = self.0.try_clone()?;
        let mut outgoing = self.0;
        std::thread::Builder::new().name("guard-watch".into()).spawn(move || {
            // The guard says nothing: this returns when it has ended.
            while incoming.read(&mut [0; 64]).is_ok_and(|length| length > 0) {}
            gone();
        })?;
        std::thread::Builder::new().name("guard-reports".into()).spawn(move || {
            let mut seen = 0;
            loop {
                future::block_on(words.changed(seen));
                seen = words.version();
                if outgoing.write_all(&report(&words.reaped())).is_err() {
                    return;
                }
            }
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        let datagram = Bytes::from_static(&[0, 0xff, 10, 32]);
        vec![("127.0.0.1:7".parse().unwrap(), datagram.clone()), ("[::1]:9".parse().unwrap(), datagram)]
    }

    #[test]
    fn a_report_survives_and_a_cut_one_is_refused() {
        let bytes = report(&words());
        assert_eq!(read_report(&mut &bytes[..]).unwrap(), words());
        for end in 0..bytes.len() {
            assert!(read_report(&mut &bytes[..end]).is_err(), "cut at {end}");
        }
        let huge = [0xff; 64];
        assert!(read_report(&mut &huge[..]).is_err());
    }

    #[test]
    fn the_end_of_a_child_is_waited_for_once_and_told() {
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let lines = format!("{} 0102\n", peer.local_addr().unwrap());
        let mut command = Command::new("sh");
        // What a node would report, by the means of a shell; then it is killed.
        let length = lines.len();
        assert!(length < 0o100);
        command.args(["-c", &format!("printf '\\000\\000\\000\\{length:03o}{lines}' >&0; kill -9 $$")]);
        let guarded = Supervised::start(command).unwrap();
        let status = guarded.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        let mut buffer = [0; 8];
        assert_eq!(peer.recv(&mut buffer).unwrap(), 2);
        assert_eq!(buffer[..2], [1, 2]);
        guarded.signal(Signal::KILL);
        assert!(guarded.wait().is_err());
    }
}
