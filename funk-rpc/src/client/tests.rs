//! Callers, and nodes, that stand still, ask for too much, or go away: each harms itself alone, whether it comes over a
//! node's hop or over this client.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use funk_smol::Smol;
use futures_lite::future;
use h2::Reason;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tonic::Code;
use tower_service::Service;

use super::view::tests::node;
use super::*;
use crate::Body;
use crate::limits::{
    CONNECTION_CANCELS_MAX, CONNECTION_STREAMS_MAX, CONNECTION_WINDOW_BYTES, REQUEST_HEADER_BYTES_MAX,
    STREAM_WINDOW_BYTES,
};
use crate::pool::odd::{Endless, Refusal, nothing_open, refusing, server};
use crate::reply;

/// A client that knows of one node, which serves `ep.x` at this address.
fn client(at: SocketAddr) -> Client<Smol> {
    let client = Client::<Smol>::start(ClientOptions::new("c", Vec::new()));
    client.shared.publish(ClusterView::new(1, vec![node(at.port())], [0]), "1");
    client
}

fn request(path: &str, body: Body) -> Request<Body> {
    Request::post(path).body(body).unwrap()
}

async fn send(channel: &Channel<Smol>, path: &str, body: Body) -> Response<Body> {
    channel.clone().call(request(path, body)).await.unwrap()
}

fn status(answer: &Response<Body>) -> Code {
    answer.headers().get("grpc-status").map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

fn tries(answer: &Response<Body>) -> &[u8] {
    answer.headers()[reply::TRIES].as_bytes()
}

async fn echo(channel: &Channel<Smol>) -> Bytes {
    let answer = send(channel, "/echo", Body::new(Full::new(Bytes::from_static(b"hello")))).await;
    answer.into_body().collect().await.unwrap().to_bytes()
}

#[test]
fn answers_that_nobody_reads_keep_nothing_from_others() {
    smol::block_on(async {
        let (at, odd) = server();
        let channel = client(at).channel("ep.x");
        let mut unread = Vec::new();
        for _ in 0..CONNECTION_WINDOW_BYTES / STREAM_WINDOW_BYTES + 8 {
            // Neither side reads: the request's body stands still too.
            unread.push(send(&channel, "/endless", Body::new(Endless)).await);
        }
        assert_eq!(echo(&channel).await, "hello");
        drop(unread);
        nothing_open(&odd).await;
    });
}

#[test]
fn a_caller_that_goes_away_ends_its_request_at_the_node() {
    smol::block_on(async {
        let (at, odd) = server();
        let channel = client(at).channel("ep.x");
        for body in [Body::new(Endless), Body::new(Full::new(Bytes::from_static(b"x"))), Body::empty()] {
            let served = async {
                while odd.open.load(Ordering::SeqCst) == 0 {
                    future::yield_now().await;
                }
            };
            future::or(async { drop(send(&channel, "/silent", body).await) }, served).await;
            nothing_open(&odd).await;
        }
    });
}

#[test]
fn a_caller_whose_deadline_passes_ends_its_request_at_the_node() {
    smol::block_on(async {
        let (at, odd) = server();
        let channel = client(at).channel("ep.x").deadline(Duration::from_millis(20));
        for _ in 0..CONNECTION_STREAMS_MAX / 4 {
            let answer = send(&channel, "/silent", Body::new(Endless)).await;
            assert_eq!(status(&answer), Code::DeadlineExceeded);
        }
        nothing_open(&odd).await;
    });
}

#[test]
fn more_requests_than_a_connection_takes_go_over_further_ones() {
    smol::block_on(async {
        let (at, odd) = server();
        let channel = client(at).channel("ep.x");
        let waiting: Vec<_> = (0..3 * CONNECTION_STREAMS_MAX)
            .map(|_| {
                let channel = channel.clone();
                smol::spawn(async move { drop(send(&channel, "/silent", Body::empty()).await) })
            })
            .collect();
        while odd.open.load(Ordering::SeqCst) < waiting.len() {
            future::yield_now().await;
        }
        assert_eq!(echo(&channel).await, "hello");
        drop(waiting);
        nothing_open(&odd).await;
    });
}

#[test]
fn who_cancels_over_and_over_wears_no_connection_of_others_out() {
    smol::block_on(async {
        let (at, odd) = server();
        let channel = client(at).channel("ep.x");
        let listens = send(&channel, "/endless", Body::empty()).await;
        for _ in 0..3 * CONNECTION_CANCELS_MAX {
            let sending = std::pin::pin!(send(&channel, "/silent", Body::new(Endless)));
            future::or(async { drop(sending.await) }, future::yield_now()).await;
        }
        assert_eq!(echo(&channel).await, "hello");
        let mut body = listens.into_body();
        for _ in 0..100 {
            assert!(body.frame().await.unwrap().is_ok(), "the first connection lives on");
        }
        drop(body);
        nothing_open(&odd).await;
    });
}

#[test]
fn a_node_to_which_too_much_is_under_way_is_asked_again_and_nothing_is_sent_meanwhile() {
    smol::block_on(async {
        let (at, odd) = server();
        let client = client(at);
        let channel = client.channel("ep.x");
        let places = client.shared.pool.fill(at).await;
        let answer = send(&channel.clone().tries(1), "/silent", Body::empty()).await;
        assert_eq!(status(&answer), Code::Unavailable);
        assert_eq!(odd.open.load(Ordering::SeqCst), 0);
        let changed = async {
            while client.stats().retried == 0 {
                future::yield_now().await;
            }
            drop(places);
        };
        assert_eq!(future::zip(echo(&channel), changed).await.0, "hello");
    });
}

#[test]
fn a_request_that_the_node_did_not_look_at_is_sent_again() {
    smol::block_on(async {
        for refusal in [Refusal::Reset(Reason::REFUSED_STREAM), Refusal::Goodbye] {
            let (at, came) = refusing(refusal, 1);
            let answer = send(&client(at).channel("ep.x"), "/refused", Body::empty()).await;
            assert_eq!(status(&answer), Code::Ok, "{refusal:?}");
            assert_eq!(came.load(Ordering::SeqCst), 2);
        }
    });
}

#[test]
fn a_request_that_may_have_run_is_sent_again_only_if_it_may_run_twice() {
    smol::block_on(async {
        for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL, Reason::NO_ERROR, Reason::ENHANCE_YOUR_CALM] {
            let (at, came) = refusing(Refusal::Reset(reason), 2);
            let channel = client(at).channel("ep.x");
            let answer = send(&channel, "/refused", Body::empty()).await;
            assert_eq!((status(&answer), tries(&answer)), (Code::Unavailable, &b"1"[..]), "{reason:?}");
            let answer = send(&channel.idempotent("/refused"), "/refused", Body::empty()).await;
            assert_eq!((status(&answer), tries(&answer)), (Code::Ok, &b"2"[..]), "{reason:?}");
            assert_eq!(came.load(Ordering::SeqCst), 3);
        }
    });
}

#[test]
fn requests_that_are_reset_end_no_other_on_their_connection() {
    smol::block_on(async {
        let resets = 3 * CONNECTION_CANCELS_MAX;
        let (at, _) = refusing(Refusal::Reset(Reason::CANCEL), resets);
        let channel = client(at).channel("ep.x");
        let mut heard = send(&channel, "/listen", Body::empty()).await.into_body();
        for _ in 0..resets {
            assert_eq!(status(&send(&channel, "/refused", Body::empty()).await), Code::Unavailable);
            assert_eq!(heard.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
        }
        assert_eq!(status(&send(&channel, "/refused", Body::empty()).await), Code::Ok);
    });
}

#[test]
fn an_answer_with_long_headers_comes_through() {
    smol::block_on(async {
        let channel = client(server().0).channel("ep.x");
        let answer = send(&channel, "/long", Body::empty()).await;
        assert_eq!(answer.headers()["grpc-message"].len(), 100_000);
    });
}

#[test]
fn headers_that_are_too_long_harm_only_their_own_request() {
    smol::block_on(async {
        let channel = client(server().0).channel("ep.x");
        let mut listens = send(&channel, "/endless", Body::empty()).await.into_body();
        for _ in 0..20 {
            let mut long = request("/echo", Body::empty());
            let much = "x".repeat(REQUEST_HEADER_BYTES_MAX as usize);
            long.headers_mut().insert("x-long", much.parse().unwrap());
            let answer = channel.clone().call(long).await.unwrap();
            assert!(status(&answer) != Code::Ok || !answer.status().is_success(), "{answer:?}");
        }
        assert_eq!(echo(&channel).await, "hello");
        for _ in 0..100 {
            assert!(listens.frame().await.unwrap().is_ok(), "its connection lives on");
        }
    });
}
