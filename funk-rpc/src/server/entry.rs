//! How a connection gets in where TLS is spoken: its first byte, its handshake, and who is behind it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use funk_io::SeldomEach;
use funk_tls::rustls::{Error as RustlsError, ServerConfig};
use funk_tls::{Refused, Roles};
use futures_io::AsyncRead;
use futures_lite::future;
use futures_rustls::{TlsAcceptor, TlsStream};

use super::handshakes::Handshakes;
use crate::limits::HANDSHAKE_MAX;
use crate::net::{AnyRuntime, Stream};
use crate::tls::{Authenticated, Prefixed, Secured, ServerTls};

/// The first byte of a TLS handshake.
const HANDSHAKE_RECORD: u8 = 0x16;

/// What became of the handshakes of a listener so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandshakeCounts {
    /// Those that ended well.
    pub done: u64,
    /// Connections without TLS that were permitted.
    pub plaintext: u64,
    /// Those that were refused, by a word for the reason.
    pub refused: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Default)]
struct Told {
    counts: HandshakeCounts,
    said: SeldomEach,
}

/// Lets connections in on one listener.
pub(super) struct Entry {
    tls: ServerTls,
    protocol: &'static [u8],
    /// What the generation of this number accepts streams with.
    config: Mutex<(u64, Option<Arc<ServerConfig>>)>,
    handshakes: Arc<Handshakes>,
    told: Mutex<Told>,
}

/// A connection that got in.
pub(super) struct Entered {
    pub(super) stream: Box<dyn Stream>,
    /// The first byte, where it was read already.
    pub(super) first: Option<u8>,
    pub(super) peer: Option<Authenticated>,
}

/// Why one did not.
struct Failed {
    reason: &'static str,
    why: String,
}

fn failed(reason: &'static str, why: impl Into<String>) -> Failed {
    Failed { reason, why: why.into() }
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        failed(refused.reason(), refused.to_string())
    }
}

impl Entry {
    pub(super) fn new(tls: ServerTls, protocol: &'static [u8]) -> Self {
        let (handshakes, config, told) = (Arc::default(), Mutex::default(), Mutex::default());
        Self { tls, protocol, config, handshakes, told }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counts(&self) -> HandshakeCounts {
        self.told().counts.clone()
    }

    fn config(&self) -> (u64, Arc<ServerConfig>) {
        // The number comes first: a config that is newer than it says is only made again too early.
        let generation = self.tls.current.generation();
        let mut kept = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            (number, Some(config)) if *number == generation => (generation, Arc::clone(config)),
            _ => {
                let now = self.tls.current.get();
                let protocols = &[self.protocol];
                let config =
                    if self.tls.asks { now.acceptor(Roles::ANY, protocols) } else { now.open_acceptor(protocols) };
                *kept = (generation, Some(Arc::clone(&config)));
                (generation, config)
            }
        }
    }

    /// Lets a connection in, within the time that a handshake may take.
    pub(super) async fn enter(
        &self,
        runtime: AnyRuntime,
        stream: Box<dyn Stream>,
        from: SocketAddr,
    ) -> Option<Entered> {
        let late = || Err(failed("late", format!("no handshake within {HANDSHAKE_MAX:?}")));
        let entered = runtime.within(HANDSHAKE_MAX, self.shake(stream, from)).await.unwrap_or_else(late);
        match entered {
            Ok(entered) => {
                let mut told = self.told();
                match entered.first {
                    Some(_) => told.counts.plaintext += 1,
                    None => told.counts.done += 1,
                }
                Some(entered)
            }
            Err(failed) => {
                self.tell(from, &failed);
                None
            }
        }
    }

    fn tell(&self, peer: SocketAddr, failed: &Failed) {
        let Failed { reason, why } = failed;
        let mut told = self.told();
        *told.counts.refused.entry(*reason).or_default() += 1;
        // Whoever only looks whether the port is open, or goes away, has done nothing wrong.
        if *reason == "closed" {
            tracing::debug!(%peer, why, "a handshake was broken off");
            return;
        }
        let times = told.said.count(peer.ip());
        drop(told);
        if let Some(times) = times {
            tracing::warn!(%peer, reason, why, times, "a TLS connection is refused");
        }
    }

    async fn shake(&self, mut stream: Box<dyn Stream>, from: SocketAddr) -> Result<Entered, Failed> {
        let mut first = [0];
        let read = std::future::poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut first)).await;
        let first = match read {
            Ok(1) => first[0],
            Ok(_) => return Err(failed("closed", "it said nothing")),
            Err(error) => return Err(failed("closed", error.to_string())),
        };
        if first != HANDSHAKE_RECORD {
            return if self.tls.permit_plaintext {
                Ok(Entered { stream, first: Some(first), peer: None })
            } else {
                Err(failed("plaintext", "the peer does not speak TLS"))
            };
        }
        let Some(place) = self.handshakes.begin(from.ip(), Instant::now()) else {
            return Err(failed("too_many", "its source begins too many handshakes"));
        };
        let (generation, config) = self.config();
        let accepting = async {
            let stream = Prefixed { stream, first: Some(first) };
            TlsAcceptor::from(config).accept(stream).await.map_err(|error| shaken(&error))
        };
        let made_way = async {
            place.shown_out().await;
            Err(failed("made_way", "others wanted in, and this handshake was the oldest"))
        };
        let stream = TlsStream::from(future::or(accepting, made_way).await?);
        let peer = Authenticated::of(&stream, &self.tls.current, generation, Roles::ANY)?;
        if self.tls.asks && peer.is_none() {
            return Err(Refused::NoIdentity.into());
        }
        Ok(Entered { stream: Box::new(Secured(stream)), first: None, peer })
    }
}

/// Why a handshake failed.
fn shaken(error: &io::Error) -> Failed {
    if let Some(refused) = funk_tls::why(error) {
        return refused.into();
    }
    match error.get_ref().and_then(|error| error.downcast_ref::<RustlsError>()) {
        Some(RustlsError::NoCertificatesPresented) => failed("no_certificate", "the peer shows no certificate"),
        Some(RustlsError::PeerIncompatible(why)) => failed("version", format!("only TLS 1.3 is spoken here: {why:?}")),
        Some(RustlsError::AlertReceived(alert)) => {
            failed("alert", format!("the peer refuses this node's certificate: {alert:?}"))
        }
        Some(RustlsError::NoApplicationProtocol) => failed("protocol", "the peer speaks another protocol over TLS"),
        Some(error) => failed("malformed", error.to_string()),
        None => failed("closed", error.to_string()),
    }
}
