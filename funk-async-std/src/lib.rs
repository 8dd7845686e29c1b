//! funk on async-std: `funk_io::start::<funk_async_std::AsyncStd>(options)`.
//!
//! async-std is discontinued (RUSTSEC-2025-0052): this is for services that still run on it. Streams and timers are
//! those of async-io, which async-std is built on; its own streams do not end their sending half when they are closed.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use async_io::{Async, Timer};
use async_net::TcpStream;

/// The async-std runtime. The driver blocks on its own thread; tasks are spawned on
/// async-std's executor.
#[derive(Clone, Copy, Debug)]
pub struct AsyncStd;

impl funk_io::Runtime for AsyncStd {
    type Stream = TcpStream;
    type Listener = Async<TcpListener>;
    type Udp = Async<UdpSocket>;
    type Timer = Timer;

    fn listen(listener: TcpListener) -> io::Result<Async<TcpListener>> {
        Async::new(listener)
    }

    async fn accept(listener: &Async<TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = listener.accept().await?;
        Ok((stream.into(), peer))
    }

    async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(address).await
    }

    fn udp(socket: UdpSocket) -> io::Result<Async<UdpSocket>> {
        Async::new(socket)
    }

    fn poll_recv_from(
        socket: &mut Async<UdpSocket>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        loop {
            match socket.get_ref().recv_from(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(socket.poll_readable(context))?,
                received => return Poll::Ready(received),
            }
        }
    }

    fn timer(at: Instant) -> Timer {
        Timer::at(at)
    }

    fn arm(timer: &mut Timer, at: Instant) {
        timer.set_at(at);
    }

    fn poll_timer(timer: &mut Timer, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(timer).poll(context).map(drop)
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        async_std::task::spawn(task);
    }

    fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
        Ok(async_std::task::block_on(future))
    }
}
