//! A stream's socket: its options, and what its errors mean.

use std::io;
use std::time::Duration;

use funk_proto::{CloseReason, StreamKind};
use socket2::{SockRef, TcpKeepalive};

/// Small messages leave at once, and a peer whose host is gone, or to which nothing
/// comes through on this stream, is noticed in the end. A socket that cannot is used as it is.
///
/// A stream at rest is probed after two seconds and then every second, so that some probes have to be lost before it is
/// ended: where a user timeout is set, Linux does not count them, but ends a stream that is silent for so long (tcp(7)).
pub(super) fn set_options<S: std::os::fd::AsFd>(io: &S, channel: StreamKind) {
    let socket = SockRef::from(io);
    let _ = socket.set_tcp_nodelay(true);
    let (rest, interval) = (Duration::from_secs(2), Duration::from_secs(1));
    let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(rest).with_interval(interval).with_retries(3));
    // Probes say nothing while something is under way: that is sent again for a quarter of an hour.
    #[cfg(target_os = "linux")]
    if channel == StreamKind::Cluster {
        let _ = socket.set_tcp_user_timeout(Some(crate::limits::STREAM_STALL_MAX));
    }
}

pub(super) fn dial_failure(error: &io::Error) -> CloseReason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => CloseReason::Refused,
        io::ErrorKind::TimedOut => CloseReason::TimedOut,
        _ => CloseReason::Failed,
    }
}

pub(super) fn failure(error: &io::Error) -> CloseReason {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            CloseReason::Reset
        }
        io::ErrorKind::TimedOut => CloseReason::TimedOut,
        _ => CloseReason::Failed,
    }
}
