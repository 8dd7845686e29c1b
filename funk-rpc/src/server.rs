//! Accepted connections, each served by hyper.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use event_listener::Event;
use funk_io::Runtime;
use futures_lite::future;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use smol_hyper::rt::FuturesIo;
use tonic::body::Body;
use tower_service::Service;

use crate::limits::{HTTP_CONNECTIONS_MAX, HTTP_STREAMS_MAX};

use crate::net::{self, Exec, Timer, within};

/// Silence after which a client is asked for a sign of life, and time for the answer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Time for the head of an HTTP/1 request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that open requests get when the server shuts down.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after a failed accept, such as one without a file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, for pages and metrics.
    Http1,
    /// HTTP/2, for gRPC.
    Http2,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    stop: Event,
    open: AtomicUsize,
    closed: Event,
}

impl Shared {
    async fn stopped(&self) {
        loop {
            let listener = self.stop.listen();
            if self.stopping.load(Ordering::Acquire) {
                return;
            }
            listener.await;
        }
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
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.stop.notify(usize::MAX);
        loop {
            let listener = self.shared.closed.listen();
            if self.shared.open.load(Ordering::Acquire) == 0 {
                return;
            }
            listener.await;
        }
    }
}

/// One open connection, counted.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.closed.notify(usize::MAX);
    }
}

/// Found in the extensions of each request: where its connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Serves `service` on every connection that `listener` accepts.
pub fn serve<N, S>(listener: std::net::TcpListener, protocol: Protocol, service: S) -> io::Result<Server>
where
    N: Runtime,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let address = listener.local_addr()?;
    let listener = N::listen(listener)?;
    let shared = Arc::new(Shared::default());
    let server = Server { address, shared: Arc::clone(&shared) };
    N::spawn(async move {
        future::or(accept::<N, S>(&listener, protocol, service, &shared), shared.stopped()).await;
    });
    Ok(server)
}

async fn accept<N, S>(listener: &N::Listener, protocol: Protocol, service: S, shared: &Arc<Shared>)
where
    N: Runtime,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    loop {
        let (stream, peer) = match net::accept::<N>(listener).await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                N::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let before = shared.open.fetch_add(1, Ordering::AcqRel);
        let open = Open(Arc::clone(shared));
        if before >= HTTP_CONNECTIONS_MAX {
            tracing::warn!("a connection is closed: {HTTP_CONNECTIONS_MAX} are open");
            continue;
        }
        let service = service.clone();
        N::spawn(async move { connection::<N, S>((stream, Peer(peer)), protocol, service, &open.0).await });
    }
}

async fn connection<N, S>((stream, peer): (N::Stream, Peer), protocol: Protocol, service: S, shared: &Shared)
where
    N: Runtime,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let mut service = service.clone();
        async move {
            std::future::poll_fn(|context| service.poll_ready(context)).await?;
            service.call(request.map(Body::new)).await
        }
    });
    let io = FuturesIo::new(stream);
    match protocol {
        Protocol::Http1 => {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(Timer::<N>::new()).header_read_timeout(HEAD_TIMEOUT);
            let mut connection = std::pin::pin!(builder.serve_connection(io, service));
            drive::<N, _>(connection.as_mut(), |it| it.graceful_shutdown(), shared).await;
        }
        Protocol::Http2 => {
            let mut builder = hyper::server::conn::http2::Builder::new(Exec::<N>::new());
            builder
                .timer(Timer::<N>::new())
                .keep_alive_interval(KEEP_ALIVE)
                .keep_alive_timeout(KEEP_ALIVE)
                .max_concurrent_streams(HTTP_STREAMS_MAX);
            let mut connection = std::pin::pin!(builder.serve_connection(io, service));
            drive::<N, _>(connection.as_mut(), |it| it.graceful_shutdown(), shared).await;
        }
    }
}

/// Runs a connection to its end, or to the end of its drain.
async fn drive<N: Runtime, C>(mut connection: Pin<&mut C>, drain: impl FnOnce(Pin<&mut C>), shared: &Shared)
where
    C: Future<Output = hyper::Result<()>>,
{
    let ended = future::or(async { Some(connection.as_mut().await) }, async {
        shared.stopped().await;
        None
    })
    .await;
    let ended = match ended {
        Some(ended) => Some(ended),
        None => {
            drain(connection.as_mut());
            within::<N, _>(DRAIN_TIMEOUT, connection).await
        }
    };
    if let Some(Err(error)) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
