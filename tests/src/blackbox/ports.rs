//! Ports that a test fixes beforehand, for the few cases where a node's
//! address must be known before it runs.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range from which systems hand out ports by themselves, so that
/// nothing takes one between its choice and its use.
const FIRST: u32 = 20_000;
const COUNT: u32 = 10_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A loopback address whose port is free for both UDP and TCP. Never the same twice in a process.
///
/// # Errors
/// When no port of the whole range is free.
pub fn free() -> Result<SocketAddr, String> {
    // Processes that run side by side start at different places.
    let base = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let offset = base.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).expect("the range ends below 65536");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err("no free port on the loopback address".into())
}
