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
        let why = match told.ip() {
            ip if ip.is_unspecified() => {
                "listens on every address of this machine: advertise the one that others are to use"
            }
            ip if ip.is_multicast() => "is advertised at a multicast address, which no single node has",
            _ => return Ok(told),
        };
        Err(StartError::Endpoint { name: name.into(), why })
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
    /// Those that are not served yet.
    pub(super) bound: BTreeMap<String, TcpListener>,
    /// Where others are told that each endpoint is.
    pub(super) told: BTreeMap<String, SocketAddr>,
    /// Where each is bound.
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

    /// Shows `name` where `other` is, and where others are told that it is.
    pub(super) fn share(&mut self, name: &str, other: &str, addresses: &Addresses) -> Result<(), StartError> {
        if addresses.advertise.contains_key(name) {
            return self.note(name, self.addresses[other], addresses);
        }
        self.told.insert(name.into(), self.told[other]);
        self.addresses.insert(name.into(), self.addresses[other]);
        Ok(())
    }

    /// Says in the log which endpoints are elsewhere for others.
    pub(super) fn tell(&self) {
        let both = self.addresses.iter().map(|(name, bound)| (name, bound, self.told[name]));
        let differ = both.filter(|(_, bound, told)| *bound != told);
        let endpoints: Vec<String> = differ.map(|(name, bound, told)| format!("{name} {bound} as {told}")).collect();
        if !endpoints.is_empty() {
            tracing::info!(endpoints = endpoints.join(", "), "others are told other addresses than are bound");
        }
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
    fn what_shares_a_listener_is_where_others_are_told_of_the_other() {
        let mut addresses = Addresses { interface: Some([127, 0, 0, 1].into()), ..Addresses::default() };
        addresses.advertise.insert("ep.a".into(), at("198.51.100.1:8443"));
        let mut listeners = Listeners::default();
        listeners.bind("ep.a", &addresses).unwrap();
        listeners.share("ep.b", "ep.a", &addresses).unwrap();
        assert_eq!(listeners.told["ep.b"], at("198.51.100.1:8443"));
        addresses.advertise.insert("ep.c".into(), at("198.51.100.1:9"));
        listeners.share("ep.c", "ep.b", &addresses).unwrap();
        assert_eq!(
            (listeners.told["ep.c"], listeners.addresses["ep.c"]),
            (at("198.51.100.1:9"), listeners.addresses["ep.a"])
        );
    }

    #[test]
    fn nobody_is_told_a_multicast_address() {
        let mut addresses = Addresses::default();
        addresses.advertise.insert("ep.a".into(), at("224.0.0.1:8443"));
        let error = addresses.told("ep.a", at("10.0.0.5:80")).unwrap_err();
        assert!(error.to_string().contains("multicast"), "{error}");
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
