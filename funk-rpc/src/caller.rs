//! Who calls, also where a node passes the call on.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use funk_tls::Identity;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Who called the node that passes a call on. It counts only from a node that TLS names.
pub(crate) const CALLER: HeaderName = HeaderName::from_static(CALLER_NAME);
/// The same as text.
pub(crate) const CALLER_NAME: &str = "x-funk-caller";

/// Found in the extensions of each request: who calls, and from where. Where a node passed the call on, that is whoever
/// called that node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// Where the call comes from; `None` if that is unknown.
    pub from: Option<SocketAddr>,
    /// Whom its certificate names; `None` without TLS.
    pub identity: Option<Arc<Identity>>,
    /// The node that passed it on.
    pub through: Option<Arc<Identity>>,
}

impl Caller {
    /// Whoever calls from `from` with this certificate.
    pub(crate) const fn at(from: SocketAddr, identity: Option<Arc<Identity>>) -> Self {
        Self { from: Some(from), identity, through: None }
    }

    /// The process that a node runs in.
    pub(crate) const fn here(identity: Option<Arc<Identity>>) -> Self {
        Self { from: None, identity, through: None }
    }

    /// Whoever called the node `self`, which says this of it.
    pub(crate) fn behind(self, headers: &HeaderMap) -> Self {
        let told = headers.get(CALLER).and_then(|value| value.to_str().ok());
        let (from, identity) = told.and_then(|told| told.split_once(' ')).unwrap_or_default();
        let (from, identity) = (from.parse().ok(), identity.parse().ok().map(Arc::new));
        Self { from, identity, through: self.identity }
    }

    /// The same for the node that the call is passed on to.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let from = self.from.map_or_else(|| "-".into(), |from| from.to_string());
        let who = self.identity.as_ref().map_or_else(|| "-".into(), ToString::to_string);
        HeaderValue::from_str(&format!("{from} {who}")).ok()
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.identity, self.from) {
            (Some(identity), _) => identity.fmt(f),
            (None, Some(from)) => from.fmt(f),
            (None, None) => f.write_str("this process"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(path: &str) -> Arc<Identity> {
        Arc::new(format!("spiffe://d/c/{path}").parse().unwrap())
    }

    #[test]
    fn a_caller_is_the_same_behind_the_node_that_passes_its_call_on() {
        let from = "10.0.0.9:5123".parse().unwrap();
        for caller in [Caller::at(from, Some(identity("operator/alice"))), Caller::at(from, None), Caller::here(None)] {
            let mut headers = HeaderMap::new();
            headers.insert(CALLER, caller.header().unwrap());
            let node = Caller::at("10.0.0.1:1".parse().unwrap(), Some(identity("node/n1")));
            let behind = node.clone().behind(&headers);
            assert_eq!(behind, Caller { through: node.identity, ..caller });
        }
        let node = Caller::here(Some(identity("node/n1")));
        let nobody = Caller { from: None, identity: None, through: node.identity.clone() };
        assert_eq!(node.clone().behind(&HeaderMap::new()), nobody);
        for value in ["", "x", "1.2.3.4:5 spiffe://d/c/admin/x", "a b c"] {
            let mut headers = HeaderMap::new();
            headers.insert(CALLER, HeaderValue::from_static(value));
            assert_eq!(node.clone().behind(&headers).identity, None, "{value}");
        }
    }
}
