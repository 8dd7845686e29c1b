//! Names in DNS, looked up again and again: nodes come and go behind a name.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::address::JoinAddress;
use super::feed::{Feed, Sink};
use super::{Found, srv};

/// First wait after a failure; it doubles with each.
const RETRY_MIN: Duration = Duration::from_millis(250);
/// Longest wait after a failure.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Wait after a success.
const AGAIN: Duration = Duration::from_secs(10);
/// Failures in a row of which each is told; then only each doubling.
const FAILURES_TOLD: u32 = 2;

/// A source that looks `name` up for ever. An address is told once and never again.
pub(super) fn source(name: JoinAddress) -> io::Result<Feed> {
    let mut feed = Feed::new(format!("join address {name}"));
    feed.work("funk-names", move |sink| look_up(&name, sink))?;
    Ok(feed)
}

fn look_up(name: &JoinAddress, sink: &Sink) {
    let (mut told, mut failures) = (Vec::new(), 0_u32);
    loop {
        let pause = match resolve(name) {
            Ok(addresses) => {
                failures = 0;
                if addresses != told {
                    told.clone_from(&addresses);
                    let instance = name.to_string();
                    if !sink.push(Found::Up { instance, node: None, addresses }) {
                        return;
                    }
                }
                AGAIN
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                let tell = failures <= FAILURES_TOLD || failures.is_power_of_two();
                if tell && !sink.push(Found::Failed { why: error.to_string() }) {
                    return;
                }
                (RETRY_MIN * (1 << (failures - 1).min(8))).min(RETRY_MAX)
            }
        };
        if matches!(name, JoinAddress::Address(_)) || !sink.pause(pause) {
            return;
        }
    }
}

/// Every address that a join address stands for now, in order. Blocks.
///
/// # Errors
/// The name has no address, or nobody answers.
pub fn resolve(name: &JoinAddress) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = match name {
        JoinAddress::Address(address) => vec![*address],
        JoinAddress::Name { host, port } => (host.as_str(), *port).to_socket_addrs()?.collect(),
        JoinAddress::Service(name) => {
            let hosts = srv::look_up(name)?;
            let mut addresses = Vec::new();
            let mut last = None;
            for (host, port) in &hosts {
                match (host.as_str(), *port).to_socket_addrs() {
                    Ok(found) => addresses.extend(found),
                    Err(error) => last = Some(io::Error::new(error.kind(), format!("{host}: {error}"))),
                }
            }
            match last {
                Some(error) if addresses.is_empty() => return Err(error),
                _ => addresses,
            }
        }
    };
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::super::Source;
    use super::*;

    fn first(name: &str) -> Found {
        let mut source = source(name.parse().unwrap()).unwrap();
        assert!(source.name().contains(name));
        block_on(source.next())
    }

    #[test]
    fn an_address_is_told_as_it_is() {
        let Found::Up { addresses, node: None, .. } = first("127.0.0.1:7") else { panic!("not found") };
        assert_eq!(addresses, ["127.0.0.1:7".parse().unwrap()]);
    }

    #[test]
    fn a_name_gives_every_address_with_the_port() {
        let Found::Up { addresses, .. } = first("localhost:7") else { panic!("not found") };
        assert!(!addresses.is_empty() && addresses.iter().all(|at| at.port() == 7 && at.ip().is_loopback()));
    }

    #[test]
    fn a_name_that_is_not_there_is_told_again_and_again() {
        let mut source = source("no-such-host.invalid:7".parse().unwrap()).unwrap();
        for _ in 0..2 {
            assert!(matches!(block_on(source.next()), Found::Failed { .. }));
        }
    }
}
