//! Accepted connections, each served by hyper.
//!
//! A listener is for strangers too. What one of them may hold is bounded, and what stands still makes way:
//!
//! | file | what is bounded |
//! |---|---|
//! | `entry`, `handshakes` | where TLS is spoken: handshakes, their time, how often they begin |
//! | `guests` | connections: the idlest of the largest crowd makes way |
//! | `watched` | time to begin, and time to take what is written |
//! | `backlog` | requests that were read and have not begun |
//! | `first_message` | requests whose first message is not here, and their bytes |

mod backlog;
mod entry;
mod first_message;
mod guests;
mod handshakes;
#[cfg(test)]
mod tests;
mod watched;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use event_listener::Event;
use funk_io::{Runtime, Seldom};
use futures_lite::future;
use http::{Request, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use smol_hyper::rt::FuturesIo;
use tonic::Status;
use tonic::body::Body;

use self::backlog::{Backlog, Share};
pub use self::entry::HandshakeCounts;
use self::entry::{Entered, Entry};
use self::first_message::{FirstMessage, Unready};
pub use self::guests::ListenerCounts;
use self::guests::{Guest, Guests};
use self::watched::{Arrived, Watched};
use crate::caller::Caller;
use crate::limits::{
    CONNECTION_CANCELS_MAX, CONNECTION_WINDOW_BYTES, HTTP_CONNECTIONS_MAX, HTTP_STREAMS_MAX, REQUEST_HEADER_BYTES_MAX,
    STREAM_WINDOW_BYTES, UNBELIEVED_MAX,
};
use crate::net::{self, AnyRuntime, Listener, Stream};
use crate::services::{GrpcService, Handler, handler};
use crate::tls::{Authenticated, HTTP1, HTTP2, ServerTls};

/// Silence after which a client is asked for a sign of life, and time for the answer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Time for the head of an HTTP/1 request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that open requests get when the server shuts down.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after a failed accept, such as one without a file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Bytes of HTTP/2's preface and of the head of the settings after it, without which nobody speaks HTTP/2.
const PREFACE_BYTES: usize = 24 + 9;

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1, for pages and metrics.
    Http1,
    /// HTTP/2, for gRPC.
    Http2,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    /// The listener is closed.
    closed: AtomicBool,
    /// Wakes when one of these two is set.
    stop: Event,
    guests: Arc<Guests>,
    unready: Arc<Unready>,
    backlog: Arc<Backlog>,
    /// Where TLS is spoken.
    entry: Option<Entry>,
}

impl Shared {
    async fn stopped(&self) {
        self.until(&self.stopping).await;
    }

    async fn until(&self, flag: &AtomicBool) {
        loop {
            let listener = self.stop.listen();
            if flag.load(Ordering::Acquire) {
                return;
            }
            listener.await;
        }
    }

    fn set(&self, flag: &AtomicBool) {
        flag.store(true, Ordering::Release);
        self.stop.notify(usize::MAX);
    }
}

/// A running server. Dropping the handle lets it run on.
#[derive(Clone)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more, lets open requests end for up to a second, and closes.
    pub async fn shutdown(&self) {
        self.stop();
        self.shared.until(&self.shared.closed).await;
        self.shared.guests.all_left().await;
    }

    /// The same without waiting for it.
    pub fn stop(&self) {
        self.shared.set(&self.shared.stopping);
    }

    /// What became of the connections to it so far.
    pub fn counts(&self) -> ListenerCounts {
        self.shared.guests.counts()
    }

    /// What became of the handshakes on it so far; `None` without TLS.
    pub fn handshakes(&self) -> Option<HandshakeCounts> {
        self.shared.entry.as_ref().map(Entry::counts)
    }
}

/// Found in the extensions of each request: where its connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Serves `service` on every connection that `listener` accepts.
pub fn serve<N, S>(listener: std::net::TcpListener, protocol: Protocol, service: S) -> io::Result<Server>
where
    N: Runtime,
    S: GrpcService,
    S::Future: Send + 'static,
{
    serve_over::<N, S>(listener, protocol, service, None)
}

/// The same, over TLS if it is given. A request's extensions hold the [`Caller`], and an `Arc` of the
/// [`Identity`](funk_tls::Identity) that its certificate names.
pub fn serve_over<N, S>(
    listener: std::net::TcpListener,
    protocol: Protocol,
    service: S,
    tls: Option<ServerTls>,
) -> io::Result<Server>
where
    N: Runtime,
    S: GrpcService,
    S::Future: Send + 'static,
{
    let address = listener.local_addr()?;
    let alpn = if protocol == Protocol::Http1 { HTTP1 } else { HTTP2 };
    let entry = tls.map(|tls| Entry::new(tls, alpn));
    let runtime = AnyRuntime::of::<N>();
    let listener = runtime.listen(listener)?;
    let shared = Arc::new(Shared { guests: Arc::new(Guests::of_process()), entry, ..Shared::default() });
    let server = Server { address, shared: Arc::clone(&shared) };
    let serving = Serving { runtime, protocol, handler: handler(service), shared: Arc::clone(&shared) };
    runtime.spawn(async move {
        future::or(serving.accept(&*listener), shared.stopped()).await;
        drop(listener);
        shared.set(&shared.closed);
    });
    Ok(server)
}

/// What the connections of a listener have in common.
#[derive(Clone)]
struct Serving {
    runtime: AnyRuntime,
    protocol: Protocol,
    handler: Handler,
    shared: Arc<Shared>,
}

impl Serving {
    async fn accept(self, listener: &dyn Listener) {
        let Self { runtime, shared, .. } = &self;
        let mut failures = Seldom::default();
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if let Some(times) = failures.count() {
                        tracing::warn!(%error, times, "connections cannot be accepted");
                    }
                    runtime.sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // The last descriptors are for what keeps the node in its cluster.
            let is_last = net::is_among_last(&*stream);
            let Some(place) = shared.guests.enter(peer.ip(), HTTP_CONNECTIONS_MAX, is_last) else {
                if let Some(times) = failures.count() {
                    tracing::warn!(times, "connections are turned away: there is no room, and nobody is idle");
                }
                continue;
            };
            let serving = self.clone();
            runtime.spawn(async move {
                let connection = serving.connection((stream, Peer(peer)), &place.guest);
                future::or(connection, place.guest.shown_out()).await;
            });
        }
    }

    async fn connection(&self, (stream, peer): (Box<dyn Stream>, Peer), guest: &Arc<Guest>) {
        let (arrived, share) = (Arc::<Arrived>::default(), Share::new(&self.shared.backlog));
        let entering = async {
            match &self.shared.entry {
                // Boxed: what a handshake needs is no part of a connection's task.
                Some(entry) => Box::pin(entry.enter(self.runtime, stream, peer.0)).await,
                None => Some(Entered { stream, first: None, peer: None }),
            }
        };
        let stopped = async {
            self.shared.stopped().await;
            None
        };
        let Some(Entered { stream, first, peer: shown }) = future::or(entering, stopped).await else { return };
        let mut stream = Watched::new(stream, first, self.runtime, Arc::clone(&arrived), Arc::clone(&share));
        let until = Instant::now() + HEAD_TIMEOUT;
        let stopped = async {
            self.shared.stopped().await;
            false
        };
        if self.runtime.within(HEAD_TIMEOUT, future::or(stream.begun(), stopped)).await != Some(true) {
            return;
        }
        let begun = Begun { stream, peer, shown, arrived, share, until };
        // What is held for a connection that has begun is no part of the task before it has.
        Box::pin(begun.serve(self, guest)).await;
    }
}

/// A connection whose client has said something.
struct Begun {
    stream: Watched,
    peer: Peer,
    /// Whom its certificate names.
    shown: Option<Authenticated>,
    arrived: Arc<Arrived>,
    share: Arc<Share>,
    /// When its client must have said what it speaks.
    until: Instant,
}

impl Begun {
    async fn serve(self, serving: &Serving, guest: &Arc<Guest>) {
        let Self { stream, peer, shown, arrived, share, until } = self;
        let caller = Caller::at(peer.0, shown.as_ref().map(|shown| Arc::clone(&shown.identity)));
        let Serving { runtime, protocol, handler, shared } = serving;
        let (runtime, handler) = (*runtime, Arc::clone(handler));
        let (guests, unready, guest) = (Arc::clone(&shared.guests), Arc::clone(&shared.unready), Arc::clone(guest));
        let service = service_fn(move |mut request: Request<Incoming>| {
            let unbegun = share.add();
            request.extensions_mut().insert(peer);
            if let Some(identity) = &caller.identity {
                request.extensions_mut().insert(Arc::clone(identity));
            }
            request.extensions_mut().insert(caller.clone());
            let counted = guests.request(&guest);
            let request = if is_grpc(&request) {
                request.map(|body| Body::new(FirstMessage::new(body, runtime, &unready)))
            } else {
                request.map(Body::new)
            };
            let answer = handler(request);
            async move {
                drop(unbegun);
                let response = answer.await?;
                Ok::<_, Infallible>(response.map(|body| Body::new(Counted { body, _counted: counted })))
            }
        });
        let io = FuturesIo::new(stream);
        match *protocol {
            Protocol::Http1 => {
                let mut builder = hyper::server::conn::http1::Builder::new();
                builder.timer(runtime).header_read_timeout(HEAD_TIMEOUT);
                let mut connection = std::pin::pin!(builder.serve_connection(io, service));
                in_turns(&arrived, drive(connection.as_mut(), |it| it.graceful_shutdown(), serving, shown.as_ref()))
                    .await;
            }
            Protocol::Http2 => {
                let mut connection = std::pin::pin!(http2(runtime).serve_connection(io, service));
                let silent = async {
                    let left = until.saturating_duration_since(Instant::now());
                    if runtime.within(left, arrived.at_least(PREFACE_BYTES)).await.is_some() {
                        future::pending::<()>().await;
                    }
                };
                let serving = drive(connection.as_mut(), |it| it.graceful_shutdown(), serving, shown.as_ref());
                in_turns(&arrived, future::or(serving, silent)).await;
            }
        }
    }
}

fn http2(runtime: AnyRuntime) -> hyper::server::conn::http2::Builder<AnyRuntime> {
    let mut builder = hyper::server::conn::http2::Builder::new(runtime);
    builder
        .timer(runtime)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(HTTP_STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(STREAM_WINDOW_BYTES as usize)
        .max_pending_accept_reset_streams(2 * CONNECTION_CANCELS_MAX)
        .max_header_list_size(REQUEST_HEADER_BYTES_MAX);
    builder
}

/// Runs a connection's future, and notes each time that it does.
async fn in_turns(arrived: &Arrived, serving: impl Future<Output = ()>) {
    let mut serving = std::pin::pin!(serving);
    let turns = std::future::poll_fn(|context| {
        arrived.begin_turn();
        serving.as_mut().poll(context)
    });
    turns.await;
}

/// Runs a connection to its end, or to the end of its drain.
async fn drive<C>(
    mut connection: Pin<&mut C>,
    drain: impl FnOnce(Pin<&mut C>),
    serving: &Serving,
    shown: Option<&Authenticated>,
) where
    C: Future<Output = hyper::Result<()>>,
{
    let unbelieved = async {
        let Some(shown) = shown else { return future::pending().await };
        let why = shown.no_longer_believed().await;
        tracing::info!(identity = %shown.identity, %why, "a connection ends: its certificate is not believed any more");
        Err(UNBELIEVED_MAX)
    };
    let stopped = async {
        serving.shared.stopped().await;
        Err(DRAIN_TIMEOUT)
    };
    let told = future::or(stopped, unbelieved);
    let ended = match future::or(async { Ok(connection.as_mut().await) }, told).await {
        Ok(ended) => Some(ended),
        Err(time) => {
            drain(connection.as_mut());
            serving.runtime.within(time, connection).await
        }
    };
    if let Some(Err(error)) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// An answer whose connection is busy until it has left.
struct Counted {
    body: Body,
    _counted: guests::Request,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
