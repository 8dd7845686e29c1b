//! What join addresses lead to, asked again and again: nodes come and go behind a name.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::address::JoinAddress;
use super::feed::{Feed, Sink};
use super::repeat::{Answer, Pace, ask_again};
use super::{program, srv};

/// DNS is cheap to ask.
const PACE: Pace = Pace {
    retry_min: Duration::from_millis(250),
    retry_max: Duration::from_secs(10),
    again: Some(Duration::from_secs(10)),
    reminds: true,
};

/// A source that looks a join address up again and again. Addresses are reported when they change.
pub(super) fn source(join: JoinAddress) -> io::Result<Feed> {
    let mut feed = Feed::new(format!("join address {join}"));
    feed.work("funk-names", move |sink| look_up(&join, sink))?;
    Ok(feed)
}

fn look_up(join: &JoinAddress, sink: &Sink) {
    let instance = join.to_string();
    let by_name = || match resolve(join) {
        Ok(addresses) => Answer { addresses, complaint: None },
        Err(error) => Answer { addresses: Vec::new(), complaint: Some(error.to_string()) },
    };
    match join {
        JoinAddress::Address(_) => ask_again(&instance, &Pace { again: None, ..PACE }, sink, by_name),
        JoinAddress::Name { .. } | JoinAddress::Service(_) => ask_again(&instance, &PACE, sink, by_name),
        JoinAddress::Program(path) => {
            ask_again(&instance, &program::PACE, sink, || program::ask(path, || !sink.is_dropped()));
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
        JoinAddress::Program(path) => {
            let Answer { addresses, complaint } = program::ask(path, || true);
            match complaint {
                Some(why) if addresses.is_empty() => return Err(io::Error::other(format!("{path}: {why}"))),
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

    use super::super::{Found, Source};
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
