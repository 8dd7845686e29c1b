//! What every [`Runtime`] must do, as functions that panic if it does not.
//! Each adapter calls them from its own tests.

mod cluster;
mod discovery;
mod durable;
mod endpoints;
mod fused;
mod handover;
mod last_words;
mod node;
mod service;
mod shard_state;
mod tls;

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_lite::{AsyncReadExt, AsyncWriteExt, future};

pub use cluster::three_nodes_agree_and_outlive_one;
pub use discovery::a_node_joins_through_what_its_sources_find;
pub use durable::{
    a_data_directory_is_locked_while_anybody_may_be_inside, a_data_directory_outlives_its_process,
    a_data_directory_that_is_gone_stops_an_idle_node, a_failed_write_stops_the_node,
    a_log_that_lost_its_end_is_refused, an_application_state_outlives_compaction,
};
pub use endpoints::{
    endpoints_are_followed, endpoints_of_a_foreign_agent_are_seen, more_endpoints_than_tags_hold_are_seen,
};
pub use fused::a_panic_closes_the_gate;
pub use handover::{
    a_move_waits_for_a_request_that_outlives_the_lease, a_moving_shard_takes_its_state_along,
    a_request_without_an_end_does_not_keep_its_shard,
};
pub use last_words::{
    a_panic_elsewhere_says_goodbye, nobody_says_goodbye_while_a_guard_is_valid, whoever_stops_says_goodbye,
};
pub use node::{
    a_flood_of_streams_is_bounded, a_joiner_minds_its_clusters_lease, a_node_starts_serves_and_leaves,
    a_refused_start_names_its_reason, dropping_the_last_handle_stops_the_node, garbage_at_every_port_does_no_harm,
    half_messages_are_bounded,
};
pub use service::{
    a_service_is_handed_snapshots_and_states, a_service_takes_no_other_part_beside_it,
    a_service_that_stands_still_stops_its_node,
};
pub use shard_state::{
    a_handover_beside_a_shard_state_is_refused, a_shard_is_acquired_before_it_is_served,
    a_shard_that_goes_before_it_was_acquired_takes_its_state_along,
};
pub use tls::{
    Carrier, Issue, a_cluster_moves_to_another_authority, a_hello_in_anothers_name_is_refused,
    a_node_of_another_authority_waits_outside, a_plaintext_peer_is_let_in_only_where_that_is_permitted,
    half_open_handshakes_hold_nobody_up, nodes_of_different_transports_say_so,
    three_nodes_with_certificates_outlive_their_leader, whoever_is_denied_is_cut_off,
};

use crate::runtime::Runtime;

/// Time after which a test that hangs is failed.
const PATIENCE: Duration = Duration::from_secs(30);

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Runs a test body on the runtime, and fails it if it hangs.
fn run<R: Runtime>(body: impl Future<Output = ()>) {
    let patience = async {
        R::sleep(PATIENCE).await;
        panic!("the test hangs");
    };
    R::block_on(future::or(body, patience)).expect("the runtime starts");
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((LOOPBACK, 0)).expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// Streams carry bytes both ways, in order, and their end.
pub fn streams_echo<R: Runtime>() {
    run::<R>(async {
        let (listener, address) = listener();
        let listener = R::listen(listener).expect("a fresh listener");
        R::spawn(async move {
            let (mut stream, _) = R::accept(&listener).await.expect("somebody connects");
            let mut buffer = vec![0; 4096];
            loop {
                let length = stream.read(&mut buffer).await.expect("the peer lives");
                if length == 0 {
                    break;
                }
                stream.write_all(&buffer[..length]).await.expect("the peer lives");
            }
        });
        let stream = R::connect(address).await.expect("the listener is there");
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let (mut reader, mut writer) = futures_lite::io::split(stream);
        let write = async {
            writer.write_all(&sent).await.expect("the peer lives");
            writer.close().await.expect("the peer lives");
        };
        let read = async {
            let mut received = Vec::new();
            reader.read_to_end(&mut received).await.expect("the peer ends in order");
            received
        };
        let ((), received) = future::zip(write, read).await;
        assert!(sent == received);
    });
}

/// A dial to a port where nobody listens is refused, not hung.
pub fn a_refused_dial_says_so<R: Runtime>() {
    run::<R>(async {
        let (listener, address) = listener();
        drop(listener);
        let error = R::connect(address).await.err().expect("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    });
}

/// Many datagrams come in, whole, each with its sender.
pub fn datagrams_arrive_whole<R: Runtime>() {
    run::<R>(async {
        let receiver = UdpSocket::bind((LOOPBACK, 0)).expect("loopback has a free port");
        let address = receiver.local_addr().expect("it is bound");
        let mut receiver = R::udp(receiver).expect("a fresh socket");
        let sender = UdpSocket::bind((LOOPBACK, 0)).expect("loopback has a free port");
        let from = sender.local_addr().expect("it is bound");
        let mut buffer = vec![0; 2048];
        for round in 0..100_usize {
            for n in 0..16_usize {
                sender.send_to(&vec![7; round + n], address).expect("loopback takes it");
            }
            for n in 0..16_usize {
                let received = poll_fn(|context| R::poll_recv_from(&mut receiver, context, &mut buffer)).await;
                assert_eq!(received.expect("a datagram waits"), (round + n, from));
            }
        }
    });
}

/// Timers fire in the order of their instants, and can be moved both ways.
pub fn timers_keep_their_order<R: Runtime>() {
    run::<R>(async {
        let (sender, receiver) = async_channel::unbounded();
        for millis in [30, 10, 20] {
            let sender = sender.clone();
            R::spawn(async move {
                R::sleep(Duration::from_millis(millis)).await;
                sender.send(millis).await.expect("the test waits");
            });
        }
        for millis in [10, 20, 30] {
            assert_eq!(receiver.recv().await, Ok(millis));
        }
        let hour = Instant::now() + Duration::from_secs(3600);
        let mut timer = R::timer(hour);
        let pending = poll_fn(|context| Poll::Ready(R::poll_timer(&mut timer, context).is_pending())).await;
        assert!(pending, "an hour has not passed");
        for _ in 0..3 {
            let soon = Instant::now() + Duration::from_millis(5);
            R::arm(&mut timer, soon);
            poll_fn(|context| R::poll_timer(&mut timer, context)).await;
            assert!(Instant::now() >= soon);
        }
        R::arm(&mut timer, hour);
        let pending = poll_fn(|context| Poll::Ready(R::poll_timer(&mut timer, context).is_pending())).await;
        assert!(pending, "it was moved back");
    });
}

/// A dropped future loses nothing: the next one goes on.
pub fn cancelling_loses_nothing<R: Runtime>() {
    run::<R>(async {
        let (listener, address) = listener();
        let listener = R::listen(listener).expect("a fresh listener");
        {
            let mut accept = pin!(R::accept(&listener));
            let pending = poll_fn(|context| Poll::Ready(accept.as_mut().poll(context).is_pending())).await;
            assert!(pending, "nobody connected");
        }
        let (accepted, connected) = future::zip(R::accept(&listener), R::connect(address)).await;
        let ((mut here, _), mut there) = (accepted.expect("a connection waits"), connected.expect("it is accepted"));
        let mut buffer = [0; 8];
        {
            let mut read = pin!(here.read(&mut buffer));
            let pending = poll_fn(|context| Poll::Ready(read.as_mut().poll(context).is_pending())).await;
            assert!(pending, "nothing was written");
        }
        there.write_all(b"hello").await.expect("the peer lives");
        let mut whole = [0; 5];
        here.read_exact(&mut whole).await.expect("five bytes come");
        assert_eq!(&whole, b"hello");
    });
}
