//! funk on smol: `funk_io::start::<funk_smol::Smol>(options)`.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use smol::net::TcpStream;
use smol::{Async, Timer};

/// The smol runtime. The driver blocks on its own thread; tasks are spawned on
/// smol's global executor.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

impl funk_io::Runtime for Smol {
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

    fn try_send_to(socket: &mut Async<UdpSocket>, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        socket.get_ref().send_to(bytes, to)
    }

    fn poll_writable(socket: &mut Async<UdpSocket>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        socket.poll_writable(context)
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
        smol::spawn(task).detach();
    }

    fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
        Ok(smol::block_on(future))
    }
}
