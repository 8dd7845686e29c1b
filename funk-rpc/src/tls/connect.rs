//! TLS on connections that are opened.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use funk_io::Seldom;
use funk_tls::rustls::pki_types::ServerName;
use funk_tls::rustls::{AlertDescription, ClientConfig, Error as RustlsError};
use funk_tls::{Current, Identity, Refused, Role, Roles};
use futures_rustls::{TlsConnector, TlsStream};

use super::HTTP2;
use super::stream::{Authenticated, Secured};
use crate::net::{AnyRuntime, Stream};

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DialError {
    /// No stream, or no HTTP/2 on it.
    Failed(String),
    /// This side does not believe the other one.
    Untrusted(Refused),
    /// The other side does not believe this one.
    Unwelcome(String),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) | Self::Unwelcome(why) => f.write_str(why),
            Self::Untrusted(why) => why.fmt(f),
        }
    }
}

/// Opens secured streams to nodes.
#[derive(Clone)]
pub(crate) struct Connector {
    current: Current,
    permit_plaintext: bool,
    /// What the generation of this number opens streams with.
    config: Arc<Mutex<(u64, Option<Arc<ClientConfig>>)>>,
    said: Arc<Mutex<Seldom>>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("current", &self.current).finish_non_exhaustive()
    }
}

impl Connector {
    pub(crate) fn new(current: Current, permit_plaintext: bool) -> Self {
        Self { current, permit_plaintext, config: Arc::default(), said: Arc::default() }
    }

    fn config(&self) -> (u64, Arc<ClientConfig>) {
        // The number comes first: a config that is newer than it says is only made again too early.
        let generation = self.current.generation();
        let mut kept = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            (number, Some(config)) if *number == generation => (generation, Arc::clone(config)),
            _ => {
                let config = self.current.get().connector(Roles::NODES, &[HTTP2]);
                *kept = (generation, Some(Arc::clone(&config)));
                (generation, config)
            }
        }
    }

    /// A secured stream to the node at `address`: to the one named `node` and no other, if that is given. Without an
    /// identity where the other side speaks no TLS and that is permitted.
    pub(crate) async fn dial(
        &self,
        runtime: AnyRuntime,
        address: SocketAddr,
        node: Option<&str>,
    ) -> Result<(Box<dyn Stream>, Option<Authenticated>), DialError> {
        let failed = |error: io::Error| DialError::Failed(error.to_string());
        let stream = runtime.connect(address).await.map_err(failed)?;
        let (generation, config) = self.config();
        let name = ServerName::IpAddress(address.ip().into());
        match TlsConnector::from(config).connect(name, stream).await {
            Ok(stream) => {
                let stream = TlsStream::from(stream);
                let peer = Authenticated::of(&stream, &self.current, generation, Roles::NODES);
                let peer = peer.map_err(DialError::Untrusted)?.ok_or(DialError::Untrusted(Refused::NoIdentity))?;
                if let Some(node) = node.filter(|node| peer.identity.name.as_str() != *node) {
                    return Err(DialError::Untrusted(self.impersonated(&peer.identity, node)));
                }
                Ok((Box::new(Secured(stream)), Some(peer)))
            }
            Err(error) => match shaken(&error) {
                Shaken::Silent(_) if self.permit_plaintext => {
                    let times = self.said.lock().unwrap_or_else(PoisonError::into_inner).count();
                    if let Some(times) = times {
                        tracing::warn!(%address, times, "a node is called without TLS, which --tls-permit-plaintext allows");
                    }
                    Ok((runtime.connect(address).await.map_err(failed)?, None))
                }
                Shaken::Silent(why) => Err(DialError::Failed(why)),
                Shaken::Refused(refused) => Err(DialError::Untrusted(refused)),
                Shaken::Unwelcome(why) => Err(DialError::Unwelcome(why)),
            },
        }
    }

    /// What a node's certificate says that is not the one that was called.
    fn impersonated(&self, shown: &Identity, node: &str) -> Refused {
        let Ok(name) = node.parse() else { return Refused::NoIdentity };
        let expected = Identity { name, role: Role::Node, ..self.current.get().identity().clone() };
        Refused::Other { shown: Box::new(shown.clone()), expected: Box::new(expected) }
    }
}

/// How a handshake failed.
enum Shaken {
    /// The other side speaks no TLS, or broke off.
    Silent(String),
    Refused(Refused),
    Unwelcome(String),
}

fn shaken(error: &io::Error) -> Shaken {
    if let Some(refused) = funk_tls::why(error) {
        return Shaken::Refused(refused);
    }
    match error.get_ref().and_then(|error| error.downcast_ref::<RustlsError>()) {
        Some(RustlsError::InvalidMessage(_)) => Shaken::Silent("the peer does not speak TLS".into()),
        Some(RustlsError::AlertReceived(alert)) => Shaken::Unwelcome(unwelcome(*alert)),
        Some(error) => Shaken::Unwelcome(format!("no TLS with the peer: {error}")),
        None => Shaken::Silent(format!("the peer broke the TLS handshake off, or does not speak TLS: {error}")),
    }
}

/// What TLS failed with after the handshake, for people: a certificate of this side is refused then.
pub(super) fn after(error: &RustlsError) -> DialError {
    match error {
        RustlsError::AlertReceived(alert) => DialError::Unwelcome(unwelcome(*alert)),
        error => DialError::Failed(error.to_string()),
    }
}

fn unwelcome(alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::UnknownCA | AlertDescription::DecryptError => "none of its authorities has signed it",
        AlertDescription::CertificateExpired => "it is expired, or not valid yet, by the peer's clock",
        AlertDescription::CertificateRequired => "there is none",
        AlertDescription::ProtocolVersion | AlertDescription::NoApplicationProtocol => "it speaks another protocol",
        _ => "its log says why",
    };
    format!("the peer refuses this side's certificate: {why} ({alert:?})")
}
