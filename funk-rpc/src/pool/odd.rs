//! Servers for tests: handlers that stand still, never end or say too much, and one that refuses.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use funk_smol::Smol;
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use h2::Reason;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use tonic::body::Body;
use tower_service::Service;

use super::io::Io;
use crate::net::BoxFuture;
use crate::{Protocol, serve};

/// Bytes without an end.
pub(crate) struct Endless;

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[7; 1024])))))
    }
}

/// A request in a handler's hands, counted.
pub(crate) struct Held(Arc<AtomicUsize>);

impl Held {
    pub(crate) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// By its path: `/endless` answers without an end and reads nothing, `/silent` never answers, `/long` answers with a
/// long header; all else is echoed.
#[derive(Clone, Default)]
pub(crate) struct Odd {
    /// Requests that are being served.
    pub(crate) open: Arc<AtomicUsize>,
}

impl Service<Request<Body>> for Odd {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let held = Held::new(&self.open);
        Box::pin(async move {
            match request.uri().path() {
                "/endless" => {
                    // The request's body is kept, and never read.
                    let kept = (request.into_body(), held);
                    Ok(Response::new(Body::new(Endless.map_frame(move |frame| {
                        let _ = &kept;
                        frame
                    }))))
                }
                "/silent" => future::pending().await,
                "/long" => {
                    let mut response = Response::new(Body::empty());
                    response.headers_mut().insert("grpc-message", "x".repeat(100_000).parse().unwrap());
                    Ok(response)
                }
                _ => Ok(Response::new(request.into_body())),
            }
        })
    }
}

pub(crate) fn server() -> (SocketAddr, Odd) {
    let odd = Odd::default();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let server = serve::<Smol, _>(listener, Protocol::Http2, odd.clone()).unwrap();
    (server.address(), odd)
}

pub(crate) fn request(at: SocketAddr, path: &str, body: Body) -> Request<Body> {
    Request::post(format!("http://{at}{path}")).body(body).unwrap()
}

/// Ends when nothing is served any more.
pub(crate) async fn nothing_open(odd: &Odd) {
    while odd.open.load(Ordering::SeqCst) > 0 {
        future::yield_now().await;
    }
}

/// How a server turns a request away without a word about it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    /// Its stream is reset.
    Reset(Reason),
    /// The connection is ended, with a goodbye that says that no request was looked at.
    Goodbye,
}

/// Requests that a [`refusing`] server got, those included that it turned away.
pub(crate) type Came = Arc<AtomicUsize>;

/// A server that turns the first `times` requests away and answers all others. `/listen` is never turned away: its answer
/// gets a byte for each request that comes after it on its connection, and has no end.
pub(crate) fn refusing(refusal: Refusal, times: usize) -> (SocketAddr, Came) {
    let listener = smol::Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
    let (address, came) = (listener.get_ref().local_addr().unwrap(), Came::default());
    let count = Arc::clone(&came);
    let serving = async move {
        while let Ok((stream, _)) = listener.accept().await {
            smol::spawn(refuse(stream, refusal, times, Arc::clone(&count))).detach();
        }
    };
    smol::spawn(serving).detach();
    (address, came)
}

async fn refuse(mut stream: smol::Async<TcpStream>, refusal: Refusal, times: usize, came: Came) {
    if matches!(refusal, Refusal::Goodbye) && came.load(Ordering::SeqCst) < times {
        // Settings, then GOAWAY: the last request looked at is none, and nothing is wrong.
        let said = [&[0, 0, 0, 4, 0, 0, 0, 0, 0][..], &[0, 0, 8, 7, 0, 0, 0, 0, 0], &[0; 8]].concat();
        let mut heard = [0; 1 << 10];
        assert!(stream.read(&mut heard).await.unwrap() > 0);
        came.fetch_add(1, Ordering::SeqCst);
        stream.write_all(&said).await.unwrap();
        // What is unread when a socket closes may take the goodbye with it.
        while stream.read(&mut heard).await.is_ok_and(|length| length > 0) {}
        return;
    }
    let mut listening = Vec::new();
    let mut connection = h2::server::handshake(Io { stream, heard: None }).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if request.uri().path() == "/listen" {
            listening.push(respond.send_response(Response::new(()), false).unwrap());
            continue;
        }
        let number = came.fetch_add(1, Ordering::SeqCst);
        match refusal {
            Refusal::Reset(reason) if number < times => respond.send_reset(reason),
            _ => drop(respond.send_response(Response::new(()), true).unwrap()),
        }
        for stream in &mut listening {
            stream.send_data(Bytes::from_static(b"x"), false).unwrap();
        }
    }
}
