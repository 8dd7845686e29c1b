//! funk on tokio: `funk_io::start::<funk_tokio::Tokio>(options)`.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::Sleep;

/// The tokio runtime. The driver runs on a current-thread runtime of its own;
/// tasks are spawned on the application's.
#[derive(Clone, Copy, Debug)]
pub struct Tokio;

impl funk_io::Runtime for Tokio {
    type Stream = Stream;
    type Listener = TcpListener;
    type Udp = UdpSocket;
    type Timer = Pin<Box<Sleep>>;

    fn listen(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    }

    async fn accept(listener: &TcpListener) -> io::Result<(Stream, SocketAddr)> {
        let (stream, peer) = listener.accept().await?;
        Ok((Stream(stream), peer))
    }

    async fn connect(address: SocketAddr) -> io::Result<Stream> {
        TcpStream::connect(address).await.map(Stream)
    }

    fn udp(socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    }

    fn poll_recv_from(
        socket: &mut UdpSocket,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buffer = ReadBuf::new(buffer);
        let from = ready!(socket.poll_recv_from(context, &mut buffer))?;
        Poll::Ready(Ok((buffer.filled().len(), from)))
    }

    fn try_send_to(socket: &mut UdpSocket, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        socket.try_send_to(bytes, to)
    }

    fn poll_writable(socket: &mut UdpSocket, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        socket.poll_send_ready(context)
    }

    fn timer(at: Instant) -> Self::Timer {
        Box::pin(tokio::time::sleep_until(at.into()))
    }

    fn arm(timer: &mut Self::Timer, at: Instant) {
        timer.as_mut().reset(at.into());
    }

    fn poll_timer(timer: &mut Self::Timer, context: &mut Context<'_>) -> Poll<()> {
        timer.as_mut().poll(context)
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
        Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future))
    }
}

/// A TCP stream of tokio behind the traits of futures-io.
#[derive(Debug)]
pub struct Stream(TcpStream);

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl futures_io::AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl futures_io::AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
