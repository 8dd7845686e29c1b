//! The addresses that a node binds, and what others are told.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};

use funk_io::{StartError, default_interface};

/// Gossip (Serf), UDP and TCP.
pub(super) const GOSSIP: &str = "ep.serf";
/// Raft and cluster traffic, TCP.
pub(super) const RAFT: &str = "ep.raft";
/// Heartbeats and leases, UDP.
pub(super) const LIVENESS: &str = "ep.liveness";
/// The page, status and health.
pub(super) const PAGE: &str = "ep.httpConsole";
/// Metrics, on the page's listener unless they get an address of their own.
pub(super) const METRICS: &str = "ep.metrics";
/// The same under the name that monitoring looks for.
pub(super) const MONITORING: &str = "ep.monitoring";

/// Which address each endpoint gets.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    pub(super) interface: Option<IpAddr>,
    pub(super) advertised_ip: Option<IpAddr>,
    pub(super) listen: BTreeMap<String, SocketAddr>,
    pub(super) advertise: BTreeMap<String, SocketAddr>,
}

impl Addresses {
    /// The address to bind for `name`.
    pub(super) fn bind(&self, name: &str) -> SocketAddr {
        let any = || SocketAddr::new(self.interface.unwrap_or_else(default_interface), 0);
        self.listen.get(name).copied().unwrap_or_else(any)
    }

    /// What others are told of `name`, which is bound at `bound`.
    pub(super) fn told(&self, name: &str, bound: SocketAddr) -> Result<SocketAddr, StartError> {
        let mut told = self.advertise.get(name).copied().unwrap_or_else(|| {
            let ip = self.advertised_ip.unwrap_or(bound.ip());
            SocketAddr::new(ip, bound.port())
        });
        if told.port() == 0 {
            told.set_port(bound.port());
        }
        if told.ip().is_unspecified() {
            let why = "listens on every address of this machine: advertise the one that others are to use";
            return Err(StartError::Endpoint { name: name.into(), why });
        }
        Ok(told)
    }

    /// Refuses addresses for endpoints that are not among those that the node has.
    pub(super) fn check(&self, has: impl Fn(&str) -> bool) -> Result<(), StartError> {
        match self.listen.keys().chain(self.advertise.keys()).find(|name| !has(name)) {
            Some(name) => {
                let why = "got an address, and this node serves nothing there";
                Err(StartError::Endpoint { name: name.clone(), why })
            }
            None => Ok(()),
        }
    }
}

/// Bound listeners, with what others are told of them.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub(super) bound: BTreeMap<String, TcpListener>,
    pub(super) told: BTreeMap<String, SocketAddr>,
    pub(super) addresses: BTreeMap<String, SocketAddr>,
}

impl Listeners {
    /// Binds the endpoint `name`.
    pub(super) fn bind(&mut self, name: &str, addresses: &Addresses) -> Result<(), StartError> {
        let address = addresses.bind(name);
        let failed = |source| StartError::Bind { endpoint: name.into(), address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        let at = listener.local_addr().map_err(failed)?;
        self.note(name, at, addresses)?;
        self.bound.insert(name.into(), listener);
        Ok(())
    }

    /// Notes where `name` is bound.
    pub(super) fn note(&mut self, name: &str, at: SocketAddr, addresses: &Addresses) -> Result<(), StartError> {
        self.told.insert(name.into(), addresses.told(name, at)?);
        self.addresses.insert(name.into(), at);
        Ok(())
    }

    /// Shows `name` where `other` is.
    pub(super) fn share(&mut self, name: &str, other: &str, addresses: &Addresses) -> Result<(), StartError> {
        self.note(name, self.addresses[other], addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn others_are_told_what_is_advertised_else_what_is_bound() {
        let mut addresses = Addresses::default();
        assert_eq!(addresses.told("ep.a", at("10.0.0.5:80")).unwrap(), at("10.0.0.5:80"));
        addresses.advertised_ip = Some([192, 0, 2, 7].into());
        assert_eq!(addresses.told("ep.a", at("0.0.0.0:80")).unwrap(), at("192.0.2.7:80"));
        addresses.advertise.insert("ep.a".into(), at("198.51.100.1:0"));
        assert_eq!(addresses.told("ep.a", at("10.0.0.5:80")).unwrap(), at("198.51.100.1:80"));
        addresses.advertise.insert("ep.a".into(), at("198.51.100.1:8443"));
        assert_eq!(addresses.told("ep.a", at("10.0.0.5:80")).unwrap(), at("198.51.100.1:8443"));
    }

    #[test]
    fn every_address_of_the_machine_is_none_to_tell_others() {
        let error = Addresses::default().told("ep.a", at("0.0.0.0:80")).unwrap_err();
        assert!(matches!(error, StartError::Endpoint { ref name, .. } if name == "ep.a"), "{error}");
    }

    #[test]
    fn an_address_for_what_is_not_served_is_refused() {
        let mut addresses = Addresses::default();
        addresses.listen.insert("ep.greet".into(), at("127.0.0.1:80"));
        assert!(addresses.check(|name| name == "ep.greet").is_ok());
        assert!(addresses.check(|name| name == "ep.great").is_err());
    }
}
