//! The pool with callers, and servers, that stand still or go away.

use std::collections::HashMap;
use std::net::SocketAddr;

use bytes::Bytes;
use funk_smol::Smol;
use futures_lite::future;
use http_body_util::{BodyExt, Full};

use super::odd::{Endless, nothing_open, request, server};
use super::*;
use crate::limits::{CONNECTION_CANCELS_MAX, CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES};

#[test]
fn the_address_unused_for_longest_makes_way() {
    let mut slots = Slots { by_destination: HashMap::new(), uses: 0, max: 3 };
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    for port in [1, 2, 3, 1, 4] {
        slots.get(&at(port).into());
    }
    let mut left: Vec<_> = slots.by_destination.keys().map(|to| to.address().port()).collect();
    left.sort_unstable();
    assert_eq!(left, [1, 3, 4]);
}

impl<N: Runtime> Pool<N> {
    /// As if as much were under way to `address` as may be, until this is dropped.
    pub(crate) async fn fill(&self, address: SocketAddr) -> Vec<Place> {
        drop(self.place(&address.into()).await.unwrap_or_else(|error| panic!("{error}")));
        self.lock().get(&address.into()).open.store(NODE_CONNECTIONS_MAX, Ordering::SeqCst);
        let mut places = Vec::new();
        for _ in 0..CONNECTION_STREAMS_MAX {
            places.push(self.place(&address.into()).await.ok().unwrap());
        }
        places
    }
}

async fn echo(pool: &Pool<Smol>, at: SocketAddr) -> Bytes {
    let sent = Body::new(Full::new(Bytes::from_static(b"hello")));
    let answer = pool.send(at, request(at, "/echo", sent)).await.unwrap();
    answer.into_body().collect().await.unwrap().to_bytes()
}

#[test]
fn answers_that_nobody_reads_keep_nothing_from_others() {
    smol::block_on(async {
        let ((at, odd), pool) = (server(), Pool::<Smol>::new());
        let streams = CONNECTION_WINDOW_BYTES / STREAM_WINDOW_BYTES + 8;
        let mut unread = Vec::new();
        for _ in 0..streams {
            // Neither side reads: the request's body stands still too.
            unread.push(pool.send(at, request(at, "/endless", Body::new(Endless))).await.unwrap());
        }
        assert_eq!(echo(&pool, at).await, "hello");
        drop(unread);
        nothing_open(&odd).await;
    });
}

#[test]
fn a_caller_that_goes_away_ends_its_request_at_the_other_side() {
    smol::block_on(async {
        let ((at, odd), pool) = (server(), Pool::<Smol>::new());
        for body in [Body::new(Endless), Body::new(Full::new(Bytes::from_static(b"x"))), Body::empty()] {
            let sending = pool.send(at, request(at, "/silent", body));
            let served = async {
                while odd.open.load(Ordering::SeqCst) == 0 {
                    future::yield_now().await;
                }
            };
            future::or(async { drop(sending.await) }, served).await;
            nothing_open(&odd).await;
        }
    });
}

#[test]
fn more_requests_than_a_connection_takes_go_over_further_ones() {
    smol::block_on(async {
        let ((at, odd), pool) = (server(), Pool::<Smol>::new());
        let waiting: Vec<_> = (0..3 * CONNECTION_STREAMS_MAX)
            .map(|_| {
                let pool = pool.clone();
                smol::spawn(async move { drop(pool.send(at, request(at, "/silent", Body::empty())).await) })
            })
            .collect();
        while odd.open.load(Ordering::SeqCst) < waiting.len() {
            future::yield_now().await;
        }
        let slot = pool.lock().get(&at.into());
        assert!(slot.open.load(Ordering::SeqCst) >= 3, "each takes its number");
        assert_eq!(echo(&pool, at).await, "hello");
        drop(waiting);
        nothing_open(&odd).await;
    });
}

#[test]
fn who_cancels_over_and_over_wears_no_connection_of_others_out() {
    smol::block_on(async {
        let ((at, odd), pool) = (server(), Pool::<Smol>::new());
        let listens = pool.send(at, request(at, "/endless", Body::empty())).await.unwrap();
        for _ in 0..3 * CONNECTION_CANCELS_MAX {
            let sending = std::pin::pin!(pool.send(at, request(at, "/silent", Body::new(Endless))));
            future::or(async { drop(sending.await) }, future::yield_now()).await;
        }
        assert_eq!(echo(&pool, at).await, "hello");
        let mut body = listens.into_body();
        for _ in 0..100 {
            assert!(body.frame().await.unwrap().is_ok(), "the first connection lives on");
        }
        drop(body);
        nothing_open(&odd).await;
    });
}

#[test]
fn an_answer_with_long_headers_comes_through() {
    smol::block_on(async {
        let ((at, _), pool) = (server(), Pool::<Smol>::new());
        let answer = pool.send(at, request(at, "/long", Body::empty())).await.unwrap();
        assert_eq!(answer.headers()["grpc-message"].len(), 100_000);
    });
}

#[test]
fn a_node_to_which_too_much_is_under_way_is_asked_nothing() {
    smol::block_on(async {
        let ((at, _), pool) = (server(), Pool::<Smol>::new());
        let places = pool.fill(at).await;
        let refused = pool.send(at, request(at, "/echo", Body::empty())).await;
        assert!(matches!(refused, Err(SendError::Full(_))));
        drop(places);
        assert_eq!(echo(&pool, at).await, "hello");
    });
}
