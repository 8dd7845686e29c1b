//! funk on async-std: `funk_io::start::<funk_async_std::AsyncStd>(options)`.
//!
//! async-std is discontinued (RUSTSEC-2025-0052): this is for services that still run on it. Streams, sockets and timers
//! are those of [`funk_smol`]: both runtimes stand on async-io, and async-std's own streams do not end their sending
//! half when they are closed. Tasks run on async-std's executor.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::task::{Context, Poll};
use std::time::Instant;

use funk_io::Runtime;
use funk_smol::Smol;

/// The async-std runtime. The driver blocks on its own thread; tasks are spawned on
/// async-std's executor.
#[derive(Clone, Copy, Debug)]
pub struct AsyncStd;

impl Runtime for AsyncStd {
    type Stream = <Smol as Runtime>::Stream;
    type Listener = <Smol as Runtime>::Listener;
    type Udp = <Smol as Runtime>::Udp;
    type Timer = <Smol as Runtime>::Timer;

    fn listen(listener: TcpListener) -> io::Result<Self::Listener> {
        Smol::listen(listener)
    }

    async fn accept(listener: &Self::Listener) -> io::Result<(Self::Stream, SocketAddr)> {
        Smol::accept(listener).await
    }

    async fn connect(address: SocketAddr) -> io::Result<Self::Stream> {
        Smol::connect(address).await
    }

    fn udp(socket: UdpSocket) -> io::Result<Self::Udp> {
        Smol::udp(socket)
    }

    fn poll_recv_from(
        socket: &mut Self::Udp,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        Smol::poll_recv_from(socket, context, buffer)
    }

    fn try_send_to(socket: &mut Self::Udp, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        Smol::try_send_to(socket, bytes, to)
    }

    fn poll_writable(socket: &mut Self::Udp, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Smol::poll_writable(socket, context)
    }

    fn timer(at: Instant) -> Self::Timer {
        Smol::timer(at)
    }

    fn arm(timer: &mut Self::Timer, at: Instant) {
        Smol::arm(timer, at);
    }

    fn poll_timer(timer: &mut Self::Timer, context: &mut Context<'_>) -> Poll<()> {
        Smol::poll_timer(timer, context)
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        async_std::task::spawn(task);
    }

    fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
        Ok(async_std::task::block_on(future))
    }
}
