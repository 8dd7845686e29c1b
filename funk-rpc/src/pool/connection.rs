//! One connection to a node, and the places that its requests have on it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future;
use h2::client::{self, SendRequest};
use h2::{Ping, PingPong};

use super::destination::Destination;
use super::io::Io;
use crate::limits::{
    ANSWER_HEADER_BYTES_MAX, CONNECTION_CANCELS_MAX, CONNECTION_STREAMS_MAX, CONNECTION_WINDOW_BYTES,
    STREAM_WINDOW_BYTES, UNBELIEVED_MAX,
};
use crate::net::AnyRuntime;
use crate::tls::{Authenticated, Connector, DialError, Heard, refusal};

pub(super) struct Connection {
    sender: SendRequest<Bytes>,
    streams: AtomicUsize,
    /// Streams that ended before their answer did. A server counts them against a connection, and ends it
    /// when there are too many.
    cancels: AtomicUsize,
    closed: AtomicBool,
    /// Nothing was under way on it for a while, and others are there: it is to go.
    spare: AtomicBool,
    /// Who is on the other side, over TLS.
    peer: Option<Authenticated>,
}

/// A place for one stream on a connection; dropping it gives the place back.
pub(crate) struct Place {
    connection: Arc<Connection>,
}

impl Connection {
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether it will ever take another request.
    pub(super) fn takes_more(&self) -> bool {
        let worn = self.cancels.load(Ordering::Acquire) >= CONNECTION_CANCELS_MAX;
        // The next one stands on the credentials of now.
        let old = self.peer.as_ref().is_some_and(|peer| !peer.is_of_now());
        !worn && !old && !self.is_closed() && !self.spare.load(Ordering::Acquire)
    }

    /// A place, if there is one now.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        let most = self.sender.current_max_send_streams().min(CONNECTION_STREAMS_MAX);
        let before = self.streams.fetch_add(1, Ordering::AcqRel);
        let place = Place { connection: Arc::clone(self) };
        (before < most).then_some(place)
    }
}

impl Place {
    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.connection.sender.clone()
    }

    /// Whether it is over TLS.
    pub(super) fn is_secured(&self) -> bool {
        self.connection.peer.is_some()
    }

    /// Its stream ends before the answer does.
    pub(super) fn cancelled(&self) {
        self.connection.cancels.fetch_add(1, Ordering::AcqRel);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection that is open, counted.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Of each connection.
fn settings() -> client::Builder {
    let mut settings = client::Builder::new();
    settings
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(ANSWER_HEADER_BYTES_MAX)
        .max_send_buffer_size(STREAM_WINDOW_BYTES as usize)
        // Streams that are reset are remembered, so that what is on its way for them is no error.
        .max_concurrent_reset_streams(CONNECTION_CANCELS_MAX)
        .max_local_error_reset_streams(None);
    settings
}

pub(super) async fn dial(
    runtime: AnyRuntime,
    to: &Destination,
    tls: Option<&Connector>,
    keep_alive: Duration,
    open: &Arc<AtomicUsize>,
) -> Result<Arc<Connection>, DialError> {
    let address = to.address;
    let (stream, peer) = match tls {
        Some(tls) => tls.dial(runtime, address, to.node.as_deref()).await?,
        None => (runtime.connect(address).await.map_err(|error| DialError::Failed(error.to_string()))?, None),
    };
    open.fetch_add(1, Ordering::AcqRel);
    let open = Open(Arc::clone(open));
    let heard: Arc<Heard> = Arc::default();
    let (sender, mut running) = settings()
        .handshake(Io { stream, heard: peer.is_some().then(|| Arc::clone(&heard)) })
        .await
        .map_err(|error| refusal(&heard).unwrap_or_else(|| DialError::Failed(error.to_string())))?;
    if peer.is_some() {
        // Whether the other side believes this one's certificate shows only in what it says next.
        let welcome = async {
            heard.anything().await;
            Ok(())
        };
        let ended = async {
            let why = (&mut running).await.err().map_or_else(|| "it closed".to_owned(), |error| error.to_string());
            Err(refusal(&heard).unwrap_or(DialError::Failed(why)))
        };
        future::or(welcome, ended).await?;
    }
    let connection = Arc::new(Connection {
        sender,
        streams: AtomicUsize::new(0),
        cancels: AtomicUsize::new(0),
        closed: AtomicBool::new(false),
        spare: AtomicBool::new(false),
        peer: peer.clone(),
    });
    let pings = running.ping_pong();
    let (weak, count) = (Arc::downgrade(&connection), Arc::clone(&open.0));
    runtime.spawn(async move {
        let silent = async {
            match pings {
                Some(pings) => watch(runtime, pings, keep_alive, &weak, &count).await,
                None => future::pending().await,
            }
        };
        let unbelieved = async {
            let Some(peer) = peer else { return future::pending().await };
            let why = peer.no_longer_believed().await;
            // What is under way gets the time that the other side would give it.
            runtime.sleep(UNBELIEVED_MAX).await;
            why.to_string()
        };
        let ended = async { running.await.map_err(|error| error.to_string()) };
        let given_up = future::or(silent, unbelieved);
        if let Err(error) = future::or(ended, async { Err(given_up.await) }).await {
            tracing::debug!(%address, error, "connection lost");
        }
        if let Some(connection) = weak.upgrade() {
            connection.closed.store(true, Ordering::Release);
        }
        drop(open);
    });
    Ok(connection)
}

/// Asks for signs of life while requests are under way; ends when none comes. A connection that nobody
/// needed for a while, and that is not the only one, takes no more requests.
async fn watch(
    runtime: AnyRuntime,
    mut pings: PingPong,
    every: Duration,
    connection: &Weak<Connection>,
    open: &AtomicUsize,
) -> String {
    let mut idle = false;
    loop {
        runtime.sleep(every).await;
        // Once nobody holds it, its last stream ends it.
        let Some(connection) = connection.upgrade() else { return future::pending().await };
        let rests = connection.streams.load(Ordering::Acquire) == 0;
        if rests {
            let spare = idle && open.load(Ordering::Acquire) > 1;
            connection.spare.fetch_or(spare, Ordering::AcqRel);
        }
        idle = rests;
        drop(connection);
        if rests {
            continue;
        }
        match runtime.within(every, pings.ping(Ping::opaque())).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.to_string(),
            None => return format!("no sign of life within {every:?}"),
        }
    }
}
