//! A driver that panics must close the gate and leave nobody waiting.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use funk_proto::Timestamp;
use funk_proto::id::ShardId;
use futures_lite::future;

use super::node::{address, alone, serving};
use super::{LOOPBACK, run};
use crate::runtime::Runtime;
use crate::{EventsEnd, StopReason};

pub(super) const TRIGGER: &[u8] = b"panic now";

/// A panic in the driver's thread closes the gate; every waiter is told.
pub fn a_panic_closes_the_gate<R: Runtime>() {
    run::<R>(async {
        let cluster = alone::<Fused<R>>();
        serving(&cluster).await;
        let guard = cluster.guard(ShardId(0)).expect("it owns all");
        let (mut events, liveness) = (cluster.events(), address(&cluster, "ep.liveness").await);
        let socket = UdpSocket::bind((LOOPBACK, 0)).expect("loopback has a free port");
        // A datagram that the driver reads ahead of a timer comes past the runtime, and harms nobody.
        let trigger = async {
            loop {
                socket.send_to(TRIGGER, liveness).expect("loopback takes it");
                R::sleep(Duration::from_millis(3)).await;
            }
        };
        let why = future::or(cluster.stopped(), trigger).await;
        assert_eq!(why, StopReason::Failed("a datagram said so".into()));
        assert!(!guard.is_valid() && cluster.lease_until() == Timestamp::ZERO);
        assert!(cluster.guard(ShardId(0)).is_err() && cluster.status().await.is_err());
        while events.next().await != Err(EventsEnd::Stopped) {}
    });
}

/// Another runtime, but for one datagram that makes it panic.
pub(super) struct Fused<R>(PhantomData<fn() -> R>);

impl<R: Runtime> Runtime for Fused<R> {
    type Stream = R::Stream;
    type Listener = R::Listener;
    type Udp = R::Udp;
    type Timer = R::Timer;

    fn poll_recv_from(
        socket: &mut R::Udp,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let (length, from) = ready!(R::poll_recv_from(socket, context, buffer))?;
        assert!(buffer[..length] != *TRIGGER, "a datagram said so");
        Poll::Ready(Ok((length, from)))
    }

    fn listen(listener: TcpListener) -> io::Result<R::Listener> {
        R::listen(listener)
    }

    fn accept(listener: &R::Listener) -> impl Future<Output = io::Result<(R::Stream, SocketAddr)>> + Send {
        R::accept(listener)
    }

    fn connect(address: SocketAddr) -> impl Future<Output = io::Result<R::Stream>> + Send {
        R::connect(address)
    }

    fn udp(socket: UdpSocket) -> io::Result<R::Udp> {
        R::udp(socket)
    }

    fn try_send_to(socket: &mut R::Udp, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        R::try_send_to(socket, bytes, to)
    }

    fn poll_writable(socket: &mut R::Udp, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        R::poll_writable(socket, context)
    }

    fn timer(at: Instant) -> R::Timer {
        R::timer(at)
    }

    fn arm(timer: &mut R::Timer, at: Instant) {
        R::arm(timer, at);
    }

    fn poll_timer(timer: &mut R::Timer, context: &mut Context<'_>) -> Poll<()> {
        R::poll_timer(timer, context)
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        R::spawn(task);
    }

    fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
        R::block_on(future)
    }
}
