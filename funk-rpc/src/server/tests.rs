//! Listeners and clients that stand still.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use funk_smol::Smol;
use http::Response;
use http_body_util::{BodyExt, Empty, Full};
use tower_service::Service;

use super::*;
use crate::Pool;
use crate::limits::{BACKLOG_REQUESTS_MAX, READ_RUN_BYTES, UNREADY_REQUESTS_MAX};
use crate::net::BoxFuture;

/// Reads the whole request, then sends it back.
#[derive(Clone)]
struct Echo;

impl Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            Ok(match request.into_body().collect().await {
                Ok(body) => Response::new(Body::new(Full::new(body.to_bytes()))),
                Err(status) => status.into_http(),
            })
        })
    }
}

fn echo(protocol: Protocol) -> Server {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    serve::<Smol, _>(listener, protocol, Echo).unwrap()
}

fn grpc(at: SocketAddr, body: Body) -> Request<Body> {
    let request = Request::post(format!("http://{at}/a.B/C")).header("content-type", "application/grpc");
    request.body(body).unwrap()
}

/// A body that never says anything.
struct Silent;

impl HttpBody for Silent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[test]
fn requests_that_never_send_their_message_make_way() {
    smol::block_on(async {
        let server = echo(Protocol::Http2);
        let (at, pool) = (server.address(), Pool::<Smol>::new());
        let silent: Vec<_> = (0..UNREADY_REQUESTS_MAX + 5)
            .map(|_| {
                let pool = pool.clone();
                smol::spawn(async move { pool.send(at, grpc(at, Body::new(Silent))).await })
            })
            .collect();
        let mut refused = 0;
        for request in silent {
            if refused < 5 {
                let answer = request.await.unwrap();
                assert_eq!(answer.headers()["grpc-status"], "14");
                refused += 1;
            }
        }
        let sent = Bytes::from_static(b"\0\0\0\0\x02hi");
        let answer = pool.send(at, grpc(at, Body::new(Full::new(sent.clone())))).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), sent);
        let nothing = pool.send(at, grpc(at, Body::new(Empty::<Bytes>::new()))).await.unwrap();
        assert!(nothing.headers().get("grpc-status").is_none());
    });
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a POST to `/a.B/C` with gRPC's content type, without a table.
fn head() -> Vec<u8> {
    let mut head = vec![0x83, 0x86];
    for (name, value) in
        [(&b":path"[..], &b"/a.B/C"[..]), (b":authority", b"a"), (b"content-type", b"application/grpc")]
    {
        head.push(0);
        for text in [name, value] {
            head.push(u8::try_from(text.len()).unwrap());
            head.extend_from_slice(text);
        }
    }
    head
}

#[test]
fn a_large_request_is_read_as_a_whole() {
    smol::block_on(async {
        let server = echo(Protocol::Http2);
        let length = u32::try_from(10 * READ_RUN_BYTES).unwrap();
        let sent = Bytes::from([&[0][..], &length.to_be_bytes(), &vec![7; length as usize]].concat());
        let request = grpc(server.address(), Body::new(Full::new(sent.clone())));
        let answer = Pool::<Smol>::new().send(server.address(), request).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), sent);

        let page = echo(Protocol::Http1);
        smol::unblock(move || {
            let mut stream = TcpStream::connect(page.address()).unwrap();
            write!(stream, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")
                .unwrap();
            stream.write_all(&vec![7; length as usize]).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert!(answer.len() > length as usize);
        })
        .await;
    });
}

#[test]
fn a_flood_of_requests_waits_in_its_sockets() {
    const STREAMS: u32 = 3_000;
    smol::block_on(async {
        let server = echo(Protocol::Http2);
        let head = head();
        let flood: Vec<u8> = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".iter().copied().chain(frame(4, 0, 0, &[])).collect();
        let flood = (0..STREAMS).fold(flood, |flood, n| [flood, frame(1, 4, 1 + 2 * n, &head)].concat());
        let floods: Vec<_> = (0..4)
            .map(|_| {
                let (at, flood) = (server.address(), flood.clone());
                smol::unblock(move || {
                    let mut stream = TcpStream::connect(at).unwrap();
                    stream.write_all(&flood).unwrap();
                    stream
                })
            })
            .collect();
        let mut streams = Vec::new();
        for flood in floods {
            streams.push(flood.await);
        }
        while server.shared.unready.refused() < 4 * STREAMS as usize - UNREADY_REQUESTS_MAX {
            future::yield_now().await;
        }
        let most = server.shared.backlog.most.load(Ordering::Acquire);
        assert!(most < 2 * BACKLOG_REQUESTS_MAX, "{most} requests were read and had not begun");
    });
}

#[test]
fn who_says_nothing_makes_way_for_who_does() {
    smol::block_on(async {
        let server = echo(Protocol::Http2);
        let at = server.address();
        let guests = Arc::clone(&server.shared.guests);
        let silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(at).unwrap()).collect();
        while server.counts().open < silent.len() {
            future::yield_now().await;
        }
        // As if there were no room for one more.
        let place = guests.enter(at.ip(), 20, false).unwrap();
        let answer = Pool::<Smol>::new().send(at, grpc(at, Body::empty())).await.unwrap();
        assert!(answer.status().is_success());
        assert_eq!((server.counts().made_way, server.counts().refused), (1, 0));
        drop((place, silent));
    });
}

#[test]
fn a_shutdown_waits_for_nobody_who_says_nothing() {
    smol::block_on(async {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let server = echo(protocol);
            let _silent: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
            while server.counts().open < 3 {
                future::yield_now().await;
            }
            server.shutdown().await;
            assert_eq!(server.counts().open, 0);
        }
    });
}
