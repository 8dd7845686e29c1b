//! Where a request goes, and who must be there.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Where a request goes. Over TLS whoever is there must be the node that is named, if one is; any node of the cluster
/// does otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    pub(crate) address: SocketAddr,
    pub(crate) node: Option<Arc<str>>,
}

impl Destination {
    /// The node named `node`, which must be at `address`.
    pub fn member(address: SocketAddr, node: &str) -> Self {
        Self { address, node: Some(node.into()) }
    }

    /// The address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        Self { address, node: None }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(f, "{node} at {}", self.address),
            None => self.address.fmt(f),
        }
    }
}
