//! Whom it believes, and what others can read.

use std::path::PathBuf;

use funk_io::Runtime;
use funk_proto::GossipKeys;
use funk_tls::Current;

use super::NodeBuilder;
use crate::console::PageToken;

/// Whom it believes, and what others can read.
impl<R: Runtime> NodeBuilder<R> {
    /// Speaks TLS with these credentials wherever it speaks HTTP or gRPC, and lets only those in who have a certificate of
    /// this cluster; to the page everybody. The certificate must name a node; the node is called so unless
    /// [`NodeBuilder::name`] says the same. A [`Current`] may be replaced while the node runs.
    pub fn tls(mut self, credentials: impl Into<Current>) -> Self {
        self.tls = Some(credentials.into());
        self
    }

    /// Serves, and calls, those too who speak no TLS: only while a cluster goes over to TLS. Default: false.
    pub fn permit_plaintext(mut self, on: bool) -> Self {
        self.permit_plaintext = on;
        self
    }

    /// Whether streams to other nodes go by QUIC instead of TCP, at the same address. All nodes of a cluster must agree.
    /// It needs [`NodeBuilder::tls`] and the feature `quic`. Default: false.
    pub fn quic(mut self, on: bool) -> Self {
        self.is_quic = on;
        self
    }

    /// Whether the page, the metrics and what else is there are served over TLS, if there are credentials. Default: true.
    pub fn page_tls(mut self, on: bool) -> Self {
        self.page_tls = on;
        self
    }

    /// Shows the page and the metrics only to those who have this token; `/healthz` and `/readyz` to everybody.
    pub fn page_token(mut self, token: PageToken) -> Self {
        self.page_token = Some(token);
        self
    }

    /// The keys with which it encrypts gossip, and opens what comes. Default: gossip is not encrypted.
    pub fn gossip_keys(mut self, keys: impl Into<GossipKeys>) -> Self {
        self.config.gossip_keys = Some(keys.into());
        self
    }

    /// The file that these keys come from, which is written anew when they change. Default: none, so that changes are lost
    /// when it stops.
    pub fn keyring_file(mut self, path: Option<PathBuf>) -> Self {
        self.keyring_file = path;
        self
    }
}
