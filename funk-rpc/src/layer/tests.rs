//! The layer over a cluster made of route tables: real sockets, no consensus.

mod fake;

use std::sync::atomic::Ordering;
use std::time::Duration;

use fake::{Cluster, Node, call, header, status};
use futures_lite::future;
use h2::Reason;
use tonic::Code;

use crate::pool::odd::{Refusal, refusing};

#[test]
fn a_request_at_the_wrong_node_is_served_by_the_owner_after_one_hop() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        a.owns(&[&a, &b], 2, 1, 10);
        b.owns(&[&a, &b], 2, 1, 10);
        for node in [&a, &b] {
            let answer = call(node, 1, None).await;
            assert_eq!(status(&answer), Code::Ok);
            assert_eq!(header(&answer, "x-funk-node"), "b");
            assert_eq!(header(&answer, "x-funk-shard"), "1");
            assert_eq!(header(&answer, "x-funk-epoch"), "10");
            assert_eq!(answer.body, fake::message(1), "the bytes come back unchanged");
        }
        assert_eq!(b.served.load(Ordering::Relaxed), 2);
        assert_eq!(a.served.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn two_nodes_that_point_at_each_other_do_not_pass_a_request_to_and_fro() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        a.owns(&[&a, &b], 2, 1, 10);
        b.owns(&[&a, &b], 2, 0, 10);
        let answer = call(&a, 1, None).await;
        assert_eq!(status(&answer), Code::Unavailable);
        assert_eq!(a.served.load(Ordering::Relaxed) + b.served.load(Ordering::Relaxed), 0);
        assert_eq!(b.entered.load(Ordering::Relaxed), 4, "the first try and three more");
    });
}

/// Tables do not reach all nodes at the same moment, and the new owner may be the last to know.
#[test]
fn a_hop_that_comes_before_the_owners_own_table_waits_for_it() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        a.owns(&[&a, &b], 2, 1, 11);
        b.pending(&[&a, &b], 2);
        let told = async {
            while b.view.watchers() == 0 {
                future::yield_now().await;
            }
            b.owns(&[&a, &b], 2, 1, 11);
            future::pending().await
        };
        let answer = future::or(call(&a, 1, None), told).await;
        assert_eq!(status(&answer), Code::Ok);
        assert_eq!(header(&answer, "x-funk-epoch"), "11");
        assert_eq!(b.entered.load(Ordering::Relaxed), 1, "it was not sent again");
    });
}

/// On a busy machine the refusal may come too late, and then nobody knows that the request did not run.
#[test]
fn a_hop_whose_owner_changes_before_it_was_served_goes_to_the_next_owner() {
    smol::block_on(async {
        for _ in 0..50 {
            let (a, b) = Cluster::pair().await;
            let c = Node::start("c");
            let all = [&a, &b, &c];
            a.owns(&all, 2, 1, 11);
            b.pending(&all, 2);
            let moved = async {
                while b.view.watchers() == 0 {
                    future::yield_now().await;
                }
                for node in [&c, &a, &b] {
                    node.owns(&all, 2, 2, 12);
                }
                future::pending().await
            };
            let answer = future::or(call(&a, 1, None), moved).await;
            assert_eq!(b.served.load(Ordering::Relaxed), 0);
            if status(&answer) == Code::Ok {
                assert_eq!(header(&answer, "x-funk-node"), "c");
                return;
            }
            assert_eq!(status(&answer), Code::Unavailable);
        }
        panic!("no request went on to the next owner");
    });
}

#[test]
fn only_an_owner_that_refused_is_tried_again() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        a.owns(&[&a, &b], 2, 1, 10);
        b.owns(&[&a, &b], 2, 1, 10);
        b.fail.store(true, Ordering::Relaxed);
        let answer = call(&a, 1, None).await;
        assert_eq!(status(&answer), Code::Unavailable, "the handler's own answer");
        assert_eq!(b.served.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_request_for_a_moving_shard_waits_and_is_woken_by_the_next_table() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        a.pending(&[&a, &b], 2);
        b.owns(&[&a, &b], 2, 1, 11);
        let waiting = call(&a, 1, None);
        let moved = async {
            while a.view.watchers() == 0 {
                future::yield_now().await;
            }
            assert_eq!(b.served.load(Ordering::Relaxed), 0);
            a.owns(&[&a, &b], 2, 1, 11);
        };
        let (answer, ()) = future::zip(waiting, moved).await;
        assert_eq!(status(&answer), Code::Ok);
        assert_eq!(header(&answer, "x-funk-epoch"), "11");
    });
}

#[test]
fn waiting_ends_with_the_deadline() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        a.pending(&[&a, &b], 2);
        let answer = call(&a, 1, Some("20m")).await;
        assert!(matches!(status(&answer), Code::Unavailable | Code::DeadlineExceeded));
    });
}

#[test]
fn a_full_queue_refuses_at_once() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        a.pending(&[&a, &b], 2);
        let filling = async {
            let mut calls = Vec::new();
            for _ in 0..fake::QUEUE_MAX {
                calls.push(smol::spawn({
                    let a = a.clone();
                    async move { call(&a, 1, None).await }
                }));
            }
            while a.view.watchers() < fake::QUEUE_MAX {
                future::yield_now().await;
            }
            assert_eq!(status(&call(&a, 1, None).await), Code::ResourceExhausted);
        };
        filling.await;
    });
}

#[test]
fn a_hop_to_a_silent_owner_fails_when_a_table_takes_the_shard_away() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        a.owns(&[&a, &b], 2, 1, 10);
        b.owns(&[&a, &b], 2, 1, 10);
        b.silent.store(true, Ordering::Relaxed);
        let hop = call(&a, 1, None);
        let failover = async {
            while b.served.load(Ordering::Relaxed) == 0 {
                future::yield_now().await;
            }
            a.owns(&[&a, &b], 2, 0, 12);
        };
        let (answer, ()) = future::zip(hop, failover).await;
        assert_eq!(status(&answer), Code::Unavailable);
        assert_eq!(status(&call(&a, 1, None).await), Code::Ok, "the new owner serves");
    });
}

#[test]
fn an_answer_whose_guard_ran_out_is_withheld() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        a.owns(&[&a, &b], 2, 0, 10);
        a.view.break_guards();
        let answer = call(&a, 1, None).await;
        assert_eq!(status(&answer), Code::Unavailable);
        assert_eq!(a.served.load(Ordering::Relaxed), 1);
        assert!(answer.body.is_empty());
    });
}

#[test]
fn a_dead_address_costs_a_wait_for_the_next_table_and_no_request() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        let dead = Node::unreachable("c");
        a.owns(&[&a, &dead], 2, 1, 10);
        let call = call(&a, 1, None);
        let failover = async {
            smol::Timer::after(Duration::from_millis(5)).await;
            b.owns(&[&a, &b], 2, 1, 12);
            a.owns(&[&a, &b], 2, 1, 12);
        };
        let (answer, ()) = future::zip(call, failover).await;
        assert_eq!(status(&answer), Code::Ok);
        assert_eq!(header(&answer, "x-funk-node"), "b");
    });
}

#[test]
fn streams_run_both_ways_through_the_wrong_node() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        a.owns(&[&a, &b], 2, 1, 10);
        b.owns(&[&a, &b], 2, 1, 10);
        // The second message is sent only when the first has come back.
        let (sender, receiver) = smol::channel::bounded(4);
        sender.send(fake::message(1)).await.unwrap();
        let mut answer = fake::stream(&a, receiver).await;
        for key in [2, 3, 4] {
            assert_eq!(answer.next().await.unwrap(), fake::message(key - 1));
            sender.send(fake::message(key)).await.unwrap();
        }
        drop(sender);
        assert_eq!(answer.next().await.unwrap(), fake::message(4));
        assert_eq!(answer.next().await, None);
        assert_eq!(b.served.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_long_error_comes_through_the_wrong_node() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        a.owns(&[&a, &b], 2, 1, 10);
        b.owns(&[&a, &b], 2, 1, 10);
        for length in [1, 1_500, 5_500, 20_000, 100_000] {
            b.error_length.store(length, Ordering::Relaxed);
            for node in [&a, &b] {
                let answer = call(node, 1, None).await;
                assert_eq!(status(&answer), Code::InvalidArgument, "{length}");
                assert_eq!(header(&answer, "grpc-message").len(), 3 * length);
            }
        }
    });
}

/// A client that sends and does not read, until nothing moves any more.
async fn stand_still(node: &Node) -> impl Drop + use<> {
    let (sender, messages) = smol::channel::bounded(1);
    sender.send(fake::message(1)).await.unwrap();
    let streaming = fake::stream(node, messages).await;
    let big = bytes::Bytes::from(vec![7; 64 << 10]);
    while future::or(async { sender.send(big.clone()).await.is_ok() }, async {
        smol::Timer::after(Duration::from_millis(50)).await;
        false
    })
    .await
    {}
    Standing(streaming, sender)
}

struct Standing(#[expect(dead_code, reason = "held open")] fake::Streaming, smol::channel::Sender<bytes::Bytes>);

impl Drop for Standing {
    fn drop(&mut self) {
        self.1.close();
    }
}

#[test]
fn clients_that_do_not_read_leave_the_way_to_the_owner_free_and_leave_nothing_behind() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        a.owns(&[&a, &b], 2, 1, 10);
        b.owns(&[&a, &b], 2, 1, 10);
        let mut unread = Vec::new();
        for _ in 0..6 {
            unread.push(stand_still(&a).await);
            assert_eq!(status(&call(&a, 1, None).await), Code::Ok);
        }
        assert!(b.open.load(Ordering::SeqCst) >= 6);
        drop(unread);
        while b.open.load(Ordering::SeqCst) > 0 {
            future::yield_now().await;
        }
        assert_eq!(status(&call(&a, 1, None).await), Code::Ok);
    });
}

#[test]
fn a_client_that_gives_up_ends_its_request_at_the_owner() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        a.owns(&[&a, &b], 2, 1, 10);
        b.owns(&[&a, &b], 2, 1, 10);
        b.silent.store(true, Ordering::Relaxed);
        for _ in 0..40 {
            let arrived = async {
                while b.open.load(Ordering::SeqCst) == 0 {
                    future::yield_now().await;
                }
            };
            future::or(async { drop(call(&a, 1, None).await) }, arrived).await;
            while b.open.load(Ordering::SeqCst) > 0 {
                future::yield_now().await;
            }
        }
        b.silent.store(false, Ordering::Relaxed);
        assert_eq!(status(&call(&a, 1, None).await), Code::Ok);
    });
}

#[test]
fn bursts_of_requests_that_are_given_up_break_no_other_on_their_way() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        a.owns(&[&a, &b], 2, 1, 10);
        b.owns(&[&a, &b], 2, 1, 10);
        let (sender, messages) = smol::channel::bounded(1);
        sender.send(fake::message(1)).await.unwrap();
        let mut beside = fake::stream(&a, messages).await;
        for burst in [30, 200] {
            let clients = crate::Pool::new();
            for _ in 0..8 {
                let mut given_up = Vec::new();
                for _ in 0..burst {
                    let (sender, messages) = smol::channel::bounded(1);
                    sender.send(fake::message(1)).await.unwrap();
                    given_up.push((fake::stream_over(&clients, &a, messages).await, sender));
                }
                drop(given_up);
                assert_eq!(status(&call(&a, 1, None).await), Code::Ok);
                assert_eq!(beside.next().await, Some(fake::message(1)));
                sender.send(fake::message(1)).await.unwrap();
            }
        }
        while b.open.load(Ordering::SeqCst) > 1 {
            future::yield_now().await;
        }
    });
}

/// More than a connection's streams may be, by far.
const MANY: usize = 4_500;

#[test]
fn thousands_of_requests_at_once_get_the_same_answer_whatever_node_is_asked() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        a.owns(&[&a, &b], 2, 1, 10);
        b.owns(&[&a, &b], 2, 1, 10);
        for node in [&a, &b] {
            b.silent.store(true, Ordering::Relaxed);
            let clients = crate::Pool::new();
            let waiting: Vec<_> = (0..MANY)
                .map(|_| {
                    let (clients, node) = (clients.clone(), node.clone());
                    smol::spawn(async move { status(&fake::call_over(&clients, &node, 1).await) })
                })
                .collect();
            while b.open.load(Ordering::SeqCst) < MANY {
                assert!(waiting.iter().all(|call| !call.is_finished()), "none is refused");
                smol::Timer::after(Duration::from_millis(5)).await;
            }
            b.silent.store(false, Ordering::Relaxed);
            assert_eq!(status(&call(node, 1, None).await), Code::Ok, "beside them");
            drop(waiting);
            while b.open.load(Ordering::SeqCst) > 0 {
                future::yield_now().await;
            }
        }
    });
}

#[test]
fn headers_that_are_too_long_are_refused_whatever_node_is_asked() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        a.owns(&[&a, &b], 2, 1, 10);
        b.owns(&[&a, &b], 2, 1, 10);
        let most = crate::limits::CLIENT_HEADER_BYTES_MAX;
        for (bytes, code) in [(most - 600, Code::Ok), (most, Code::ResourceExhausted)] {
            for node in [&a, &b] {
                let answer = fake::call_with(node, 1, "x-long", &"x".repeat(bytes)).await;
                assert_eq!(status(&answer), code, "{bytes} bytes");
            }
        }
    });
}

#[test]
fn a_full_way_to_the_owner_is_told_as_such_and_keeps_nothing_else() {
    smol::block_on(async {
        let (a, b) = Cluster::pair().await;
        a.owns(&[&a, &b], 2, 1, 10);
        b.owns(&[&a, &b], 2, 1, 10);
        let places = a.pool.fill(b.address).await;
        let answer = call(&a, 1, None).await;
        assert_eq!((status(&answer), header(&answer, "x-funk-not-run")), (Code::ResourceExhausted, "1"));
        assert_eq!(b.entered.load(Ordering::Relaxed), 0);
        assert_eq!(status(&call(&b, 1, None).await), Code::Ok);
        drop(places);
        assert_eq!(status(&call(&a, 1, None).await), Code::Ok);
    });
}

#[test]
fn a_hop_that_the_owner_did_not_look_at_is_sent_again() {
    smol::block_on(async {
        for refusal in [Refusal::Reset(Reason::REFUSED_STREAM), Refusal::Goodbye] {
            let (at, came) = refusing(refusal, 1);
            let (a, b) = (Node::start("a"), Node::at("b", at));
            a.owns(&[&a, &b], 2, 1, 10);
            assert_eq!(status(&call(&a, 1, None).await), Code::Ok, "{refusal:?}");
            assert_eq!(came.load(Ordering::SeqCst), 2);
        }
    });
}

#[test]
fn a_hop_that_is_reset_may_have_run_and_is_not_sent_again() {
    smol::block_on(async {
        for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL, Reason::NO_ERROR, Reason::ENHANCE_YOUR_CALM] {
            let (at, came) = refusing(Refusal::Reset(reason), 1);
            let (a, b) = (Node::start("a"), Node::at("b", at));
            a.owns(&[&a, &b], 2, 1, 10);
            let answer = call(&a, 1, None).await;
            assert_eq!((status(&answer), header(&answer, "x-funk-not-run")), (Code::Unavailable, ""), "{reason:?}");
            assert_eq!(came.load(Ordering::SeqCst), 1);
            assert_eq!(status(&call(&a, 1, None).await), Code::Ok);
        }
    });
}
