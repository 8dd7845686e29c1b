//! Whom this node believes now, and what it says of the others.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use event_listener::EventListener;
use funk_tls::rustls::client::ClientConfig;
use funk_tls::rustls::server::ServerConfig;
use funk_tls::{Credentials, Current, Roles};

use super::failure::Failure;
use super::worker::Worker;
use crate::driver::hub::{Hub, Source};
use crate::meters::{Meters, TLS_REASONS};
use crate::seldom::{Seldom, SeldomEach};

/// The protocol of streams between nodes, told apart from the others that use the same certificates.
pub(crate) const PROTOCOL: &[u8] = b"funk-cluster";
/// What whoever dials by TCP is offered where streams go by QUIC: nobody speaks it, so that both sides learn it.
const ELSEWHERE: &[u8] = b"funk-cluster-by-quic";

/// One generation of credentials, as handshakes use it.
struct Generation {
    number: u64,
    credentials: Arc<Credentials>,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Generation {
    fn now(current: &Current, is_quic: bool) -> Self {
        // If a newer one comes in between, the next look finds it.
        let number = current.generation();
        let credentials = current.get();
        let client = credentials.connector(Roles::NODES, &[PROTOCOL]);
        let server = credentials.acceptor(Roles::NODES, &[if is_quic { ELSEWHERE } else { PROTOCOL }]);
        Self { number, credentials, client, server }
    }
}

/// Whom this node believes on its streams to other nodes.
pub(crate) struct Trust {
    node: String,
    current: Current,
    changed: EventListener,
    source: Arc<Source>,
    waker: Waker,
    generation: Generation,
    permit_plaintext: bool,
    /// Streams go by QUIC.
    is_quic: bool,
    pub(super) worker: Worker,
    refused: SeldomEach,
    fallbacks: Seldom,
    meters: Arc<Meters>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("generation", &self.generation.number).finish_non_exhaustive()
    }
}

impl Trust {
    /// # Errors
    /// The operating system gives no thread.
    pub(crate) fn start(
        node: &str,
        current: Current,
        (permit_plaintext, is_quic): (bool, bool),
        hub: &Arc<Hub>,
        meters: Arc<Meters>,
    ) -> io::Result<Self> {
        let source = Source::new(hub);
        let changed = current.changed();
        if permit_plaintext {
            tracing::warn!(node, "streams without TLS are permitted: whoever reaches this node may speak to it");
        }
        Ok(Self {
            node: node.into(),
            generation: Generation::now(&current, is_quic),
            current,
            changed,
            waker: Waker::from(Arc::clone(&source)),
            source,
            permit_plaintext,
            is_quic,
            worker: Worker::start(node)?,
            refused: SeldomEach::default(),
            fallbacks: Seldom::default(),
            meters,
        })
    }

    /// Takes over a new generation, if there is one: whoever was believed is looked at again.
    pub(crate) fn renew(&mut self) -> bool {
        if !self.source.take() {
            return false;
        }
        let mut context = Context::from_waker(&self.waker);
        while Pin::new(&mut self.changed).poll(&mut context).is_ready() {
            self.changed = self.current.changed();
        }
        let is_new = self.current.generation() != self.generation.number;
        if is_new {
            self.generation = Generation::now(&self.current, self.is_quic);
        }
        is_new
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.number
    }

    pub(super) fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.generation.credentials)
    }

    pub(super) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.generation.client)
    }

    pub(super) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.generation.server)
    }

    /// Credentials as they change.
    pub(crate) fn current(&self) -> &Current {
        &self.current
    }

    pub(crate) fn permits_plaintext(&self) -> bool {
        self.permit_plaintext
    }

    /// A handshake is over.
    pub(crate) fn note_open(&self) {
        self.meters.tls.handshakes.add_one();
    }

    /// A stream has no TLS, and may be used all the same.
    pub(crate) fn note_plaintext(&mut self, peer: SocketAddr) {
        self.meters.tls.plaintext.add_one();
        if let Some(times) = self.fallbacks.count() {
            tracing::warn!(node = self.node, %peer, times, "a stream without TLS is used, as it is permitted");
        }
    }

    /// There is no TLS on a stream: that is counted, and said once a second for each peer.
    pub(crate) fn refuse(&mut self, peer: SocketAddr, dialled: bool, why: &Failure) {
        let reason = why.reason();
        let place = TLS_REASONS.iter().position(|known| *known == reason).unwrap_or_default();
        self.meters.tls.refused[place].add_one();
        if let Some(times) = self.refused.count(peer.ip()) {
            let side = if dialled { "dialled" } else { "accepted" };
            tracing::warn!(node = self.node, %peer, side, %why, times, "a peer is refused");
        }
    }
}
