//! The watcher's own process.

use std::io;
use std::process;

use super::NoWatcher;

/// Whether this operating system lets one process watch another.
#[cfg(target_os = "linux")]
pub(super) fn supported() -> Result<(), NoWatcher> {
    use rustix::process::{PidfdFlags, getpid, pidfd_open};
    match pidfd_open(getpid(), PidfdFlags::empty()) {
        Ok(_) => Ok(()),
        Err(rustix::io::Errno::NOSYS) => Err(NoWatcher::Unsupported),
        Err(error) => Err(io::Error::from(error).into()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn supported() -> Result<(), NoWatcher> {
    Err(NoWatcher::Unsupported)
}

/// Watches the process that started this one, tells its peers of its end, and ends.
pub(super) fn run() -> ! {
    #[cfg(target_os = "linux")]
    let watched = linux::watch();
    #[cfg(not(target_os = "linux"))]
    let watched: io::Result<()> = Err(io::ErrorKind::Unsupported.into());
    process::exit(i32::from(watched.is_err()))
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::retry_on_intr;
    use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

    use super::super::NAME;
    use super::super::report::{self, Words};
    use crate::last_words::tell_reaped;

    /// Time from the end of the reports to the end of the process. It closes its files before it is gone, though not
    /// long before; one that runs on has become another program.
    const END_MAX: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

    pub(super) fn watch() -> io::Result<()> {
        // Only for those who list processes.
        let _ = rustix::thread::set_name(&std::ffi::CString::new(NAME)?);
        // Whoever stops a whole service tells this process too, which must be the last to go.
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
        }
        let parent = parent()?;
        let mut stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        // Anything but a socket is refused here.
        stream.peer_addr()?;
        let mut words = Words::new();
        while let Some(parent) = &parent
            && !is_ready(&stream, parent)?
        {
            match report::read(&mut stream) {
                Ok(latest) => words = latest,
                Err(_) if has_ended(parent)? => break,
                Err(_) => return Ok(()),
            }
        }
        // What was written before the end is read first; the other end of the stream is closed.
        while let Ok(latest) = report::read(&mut stream) {
            words = latest;
        }
        tell_reaped(&words);
        Ok(())
    }

    /// The process that started this one, however its number is used later; `None` if it has ended already.
    fn parent() -> io::Result<Option<OwnedFd>> {
        let told = std::env::args().nth(1).and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        let parent = told.ok_or(io::ErrorKind::InvalidInput)?;
        let opened = pidfd_open(parent, PidfdFlags::empty());
        // A process gets another parent only when its own has ended. While that lives, the descriptor is its own.
        if getppid() == Some(parent) { Ok(Some(opened?)) } else { Ok(None) }
    }

    /// Waits for a report or for the end of the process; true if it has ended.
    fn is_ready(stream: &UnixStream, parent: &OwnedFd) -> io::Result<bool> {
        let mut fds = [PollFd::new(parent, PollFlags::IN), PollFd::new(stream, PollFlags::IN)];
        retry_on_intr(|| poll(&mut fds, None))?;
        Ok(!fds[0].revents().is_empty())
    }

    /// Waits for the end of a process that has closed its end of the stream.
    fn has_ended(parent: &OwnedFd) -> io::Result<bool> {
        let mut fds = [PollFd::new(parent, PollFlags::IN)];
        Ok(retry_on_intr(|| poll(&mut fds, Some(&END_MAX)))? > 0)
    }
}
