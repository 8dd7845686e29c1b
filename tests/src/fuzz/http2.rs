//! HTTP/2 from the preface to the first message: what a stranger says to a listener, the routing layer behind it, and a
//! well-behaved client beside.

mod memory;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Duration;

use funk_rpc::{Body, Key, Node, Protocol, RouteLayer, Routes, serve};
use funk_smol::Smol;
use http::{Request, Response};
use memory::{Client, Memory};
use tower_layer::Layer;
use tower_service::Service;

use super::live;

/// What a client begins with: the preface, and settings that say nothing.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A method whose first message is read for its key.
pub(super) const BY_MESSAGE: &str = "/t.T/Message";
/// A method whose key is in a header.
pub(super) const BY_HEADER: &str = "/t.T/Header";
/// A header with a key.
pub(super) const KEY: &str = "x-key";
/// Longer than the time that anything takes which a client may hold up.
const LONG: Duration = Duration::from_secs(45);

static NODE: LazyLock<Node<Smol>> = LazyLock::new(live::node);

/// Sends every request's bytes back.
#[derive(Clone)]
struct Echo;

impl Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        ready(Ok(Response::new(request.into_body())))
    }
}

/// A frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a gRPC request, without a table.
pub(super) fn head(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut head = vec![0x83, 0x86];
    let fields = [(":path", path), (":authority", "a"), ("content-type", "application/grpc")];
    for (name, value) in fields.iter().chain(more) {
        head.push(0);
        for text in [name, value] {
            head.push(u8::try_from(text.len()).unwrap_or(0));
            head.extend_from_slice(text.as_bytes());
        }
    }
    head
}

/// The first byte says whether the preface is part of the rest, whether the client reads, and in which pieces it
/// sends.
pub(super) fn connection(data: &[u8]) {
    let Some((&how, said)) = data.split_first() else { return };
    let by_message = |message: &[u8]| message.first().map(|&byte| Key::Unsigned(byte.into()));
    let routes = Routes::new()
        .by_message(BY_MESSAGE, by_message)
        .by_integer_header(BY_HEADER, http::HeaderName::from_static(KEY));
    let service = RouteLayer::<Memory>::new(NODE.cluster().clone(), "ep.t", routes).layer(Echo);
    let server = serve::<Memory, _>(memory::listener(), Protocol::Http2, service).expect("nothing of it can fail");

    let stranger = Client::connect(how & 2 == 0);
    if how & 1 == 0 {
        stranger.send(PREFACE);
    }
    let piece = [usize::MAX, 1, 9, 100][usize::from(how >> 2 & 3)];
    said.chunks(piece.min(said.len().max(1))).for_each(|piece| stranger.send(piece));

    let other = Client::connect(true);
    let request = [frame(1, 4, 1, &head(BY_MESSAGE, &[])), frame(0, 1, 1, b"\0\0\0\0\x01k")].concat();
    other.send(&[PREFACE, &request].concat());
    // A node that was held up has to see first that it may serve; a request waits as long as it may.
    memory::pass(LONG);
    assert!(answered(&other.heard()), "nobody else gets an answer");
    drop(other);

    memory::pass(LONG);
    drop(stranger);
    memory::run();
    assert_eq!(server.counts().open, 0, "a client that is gone leaves nothing behind");
    server.stop();
    memory::pass(LONG);
    assert_eq!(memory::tasks(), 0);
    memory::end();
}

/// Whether the head of an answer on the first stream is in these frames.
fn answered(mut frames: &[u8]) -> bool {
    while let Some((head, rest)) = frames.split_at_checked(9) {
        if head[3] == 1 && head[5..] == [0, 0, 0, 1] {
            return true;
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        frames = rest.get(length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use funk_rpc::Server;
    use http_body_util::BodyExt;

    use super::*;

    /// Time that a client has to begin.
    const BEGIN_MAX: Duration = Duration::from_secs(10);
    /// Time that a client has to take something of what is written to it.
    const TAKE_MAX: Duration = Duration::from_secs(30);
    const MOMENT: Duration = Duration::from_secs(1);

    /// Reads the whole request, as a handler does, and says what came of it.
    #[derive(Clone)]
    struct Reads;

    impl Service<Request<Body>> for Reads {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = funk_rpc::BoxFuture<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            Box::pin(async move {
                let read = request.into_body().collect().await;
                Ok(read.map_or_else(|status| status.into_http(), |_| Response::new(Body::empty())))
            })
        }
    }

    fn server() -> Server {
        serve::<Memory, _>(memory::listener(), Protocol::Http2, Reads).unwrap()
    }

    fn opens() -> Vec<u8> {
        frame(1, 4, 1, &head(BY_MESSAGE, &[]))
    }

    #[test]
    fn who_does_not_begin_in_time_is_shown_out() {
        let server = server();
        let half = [&PREFACE[..1], &PREFACE[..23], &PREFACE[..24], &PREFACE[..32]];
        let late: Vec<_> = half
            .iter()
            .chain([&&b""[..]])
            .map(|said| {
                let client = Client::connect(true);
                client.send(said);
                client
            })
            .collect();
        let begun = Client::connect(true);
        begun.send(PREFACE);
        memory::pass(BEGIN_MAX - MOMENT);
        assert_eq!(server.counts().open, late.len() + 1);
        memory::pass(2 * MOMENT);
        assert_eq!(server.counts().open, 1, "only who has begun");
    }

    #[test]
    fn a_first_message_that_does_not_come_ends_its_request_and_no_other() {
        let server = server();
        for part in [&b""[..], b"\0\0", b"\0\0\0\0\x09half"] {
            let other = Client::connect(true);
            other.send(&[PREFACE, &opens(), &frame(0, 0, 1, part)].concat());
            memory::pass(BEGIN_MAX - MOMENT);
            assert!(!answered(&other.heard()));
            memory::pass(2 * MOMENT);
            assert!(answered(&other.heard()), "{part:?}");
            // The connection is as good as before.
            let next = [frame(1, 4, 3, &head(BY_MESSAGE, &[])), frame(0, 1, 3, b"\0\0\0\0\x01k")].concat();
            let before = other.heard().len();
            other.send(&next);
            assert!(other.heard().len() > before);
        }
        memory::run();
        assert_eq!(server.counts().open, 0);
    }

    #[test]
    fn who_takes_nothing_of_what_is_written_is_shown_out() {
        let server = server();
        let whole = [opens(), frame(0, 1, 1, b"\0\0\0\0\x01k")].concat();
        for said in [frame(6, 0, 0, &[7; 8]), whole] {
            // It takes one write, and nothing after it.
            let client = Client::connect(false);
            client.send(PREFACE);
            client.send(&said);
            client.send(&said);
            assert_eq!(server.counts().open, 1);
            memory::pass(TAKE_MAX + MOMENT);
            memory::pass(TAKE_MAX);
            assert_eq!(server.counts().open, 0);
        }
    }
}
