//! TLS under HTTP: streams that are secured, what a listener asks of its callers, and whom a pool expects.
//!
//! | file | idea |
//! |---|---|
//! | `stream` | a secured stream, and who is behind it |
//! | `connect` | for connections that are opened |

mod connect;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use self::connect::{Connector, DialError};
pub(crate) use self::stream::{Authenticated, Heard, Prefixed, Secured};

use funk_tls::Current;

/// HTTP/2 in the handshake (ALPN).
pub(crate) const HTTP2: &[u8] = b"h2";
/// HTTP/1.1 in the handshake.
pub(crate) const HTTP1: &[u8] = b"http/1.1";

/// TLS on a listener.
#[derive(Clone, Debug)]
pub struct ServerTls {
    pub(crate) current: Current,
    pub(crate) asks: bool,
    pub(crate) permit_plaintext: bool,
}

impl ServerTls {
    /// Every caller must show a certificate of this cluster.
    pub fn mutual(credentials: impl Into<Current>) -> Self {
        Self { current: credentials.into(), asks: true, permit_plaintext: false }
    }

    /// Nobody is asked for a certificate: for pages.
    pub fn open(credentials: impl Into<Current>) -> Self {
        Self { current: credentials.into(), asks: false, permit_plaintext: false }
    }

    /// Whether callers without TLS are served too, with every right: while a cluster goes over to TLS.
    #[must_use]
    pub fn permit_plaintext(mut self, on: bool) -> Self {
        self.permit_plaintext = on;
        self
    }
}

/// What the other side of a connection said to this one's certificate, if it failed by that.
pub(crate) fn refusal(heard: &Heard) -> Option<DialError> {
    heard.failure().map(|error| connect::after(&error))
}
