//! Whom a browser takes this node for.
//!
//! A page elsewhere on the web may have a name of its own that leads to this node's address, and the browser then
//! lets it read what the node answers, as if the node were its own server. The name stands in the request, so
//! names that nobody gave this node are refused.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use http::{Request, header};

/// The names that a node answers to.
#[derive(Clone, Debug)]
pub(super) struct Hosts(Arc<BTreeSet<String>>);

impl Hosts {
    /// The machine's own name.
    pub(super) fn of_this_machine() -> Self {
        let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
        Self(Arc::new(BTreeSet::from([name])))
    }

    /// And these.
    pub(super) fn and(self, names: impl IntoIterator<Item = String>) -> Self {
        let mut all = Arc::unwrap_or_clone(self.0);
        all.extend(names.into_iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()));
        Self(Arc::new(all))
    }

    /// Whether a request is for this node: by an address, `localhost`, or one of its names. Without a name no
    /// browser asks.
    pub(super) fn are_asked<B>(&self, request: &Request<B>) -> bool {
        let named =
            request.headers().get_all(header::HOST).iter().all(|host| host.to_str().is_ok_and(|host| self.know(host)));
        named && request.uri().authority().is_none_or(|authority| self.know(authority.as_str()))
    }

    fn know(&self, host: &str) -> bool {
        if let Some(rest) = host.strip_prefix('[') {
            let literal = rest.split_once(']').filter(|(_, port)| is_port(port));
            return literal.is_some_and(|(ip, _)| ip.parse::<Ipv6Addr>().is_ok());
        }
        let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let known = name.parse::<IpAddr>().is_ok() || name == "localhost" || self.0.contains(&name);
        known && is_port(port)
    }
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &str) -> bool {
        let hosts = Hosts::of_this_machine().and(["Node-1.example.".to_owned()]);
        let request = Request::get("/api/v1/status").header("host", host).body(()).unwrap();
        hosts.are_asked(&request)
    }

    #[test]
    fn addresses_and_own_names_are_answered() {
        let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
        for host in [
            "127.0.0.1",
            "10.0.0.5:8080",
            "[::1]:80",
            "[fe80::1]",
            "localhost",
            "LOCALHOST:1",
            "localhost.",
            "node-1.example",
            "node-1.example:8080",
            "NODE-1.EXAMPLE.",
            own.as_str(),
        ] {
            assert!(asked(host), "{host}");
        }
    }

    #[test]
    fn names_that_nobody_gave_are_refused() {
        for host in [
            "attacker.example",
            "attacker.example:8080",
            "localhost.attacker.example",
            "127.0.0.1.nip.io",
            "x.localhost",
            "node-1.example.attacker.example",
            "[::1].attacker.example",
            "[::1]:x",
            "localhost:x",
            "127.0.0.1:80:90",
            "127.0.0.1@attacker.example",
            "[attacker.example]",
            "",
        ] {
            assert!(!asked(host), "{host}");
        }
    }

    #[test]
    fn every_name_in_a_request_counts() {
        let hosts = Hosts::of_this_machine();
        let two = Request::get("/").header("host", "localhost").header("host", "attacker.example").body(()).unwrap();
        assert!(!hosts.are_asked(&two));
        let absolute = Request::get("http://attacker.example/").header("host", "localhost").body(()).unwrap();
        assert!(!hosts.are_asked(&absolute));
        assert!(hosts.are_asked(&Request::get("/").body(()).unwrap()), "no browser asks without one");
    }
}
