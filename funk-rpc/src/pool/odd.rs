//! A server for tests whose handlers stand still, never end or say too much.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use funk_smol::Smol;
use futures_lite::future;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use tonic::body::Body;
use tower_service::Service;

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

/// A body that counts how many of its kind are there.
struct Held(Arc<AtomicUsize>);

impl Held {
    fn new(count: &Arc<AtomicUsize>) -> Self {
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

