//! What funk needs of an async runtime.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};

/// Streams, datagrams, timers and tasks of an async runtime. An implementation
/// holds no protocol logic; [`crate::conformance`] says what it must do.
///
/// All but [`Runtime::block_on`] are called inside a task of the runtime (or
/// inside `block_on`).
pub trait Runtime: Send + Sync + 'static {
    /// A TCP stream. Its descriptor is used to set socket options.
    type Stream: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static;
    /// A TCP listener.
    type Listener: Send + Sync + 'static;
    /// A UDP socket.
    type Udp: Send + 'static;
    /// A timer that can be armed again and again.
    type Timer: Send + 'static;

    /// Takes over a listener of the standard library and makes it non-blocking.
    fn listen(listener: std::net::TcpListener) -> io::Result<Self::Listener>;

    /// The next accepted connection. Dropping the future loses no connection.
    fn accept(listener: &Self::Listener) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// Connects to `address`.
    fn connect(address: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Takes over a UDP socket of the standard library and makes it non-blocking.
    fn udp(socket: std::net::UdpSocket) -> io::Result<Self::Udp>;

    /// Receives one datagram into `buffer`: its length and its sender.
    fn poll_recv_from(
        socket: &mut Self::Udp,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>>;

    /// Sends one datagram if the socket takes it now, else fails with [`io::ErrorKind::WouldBlock`].
    fn try_send_to(socket: &mut Self::Udp, bytes: &[u8], to: SocketAddr) -> io::Result<usize>;

    /// Ready when the socket may take a datagram again, after it did not.
    fn poll_writable(socket: &mut Self::Udp, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// A timer; it is ready once `at` has passed.
    fn timer(at: Instant) -> Self::Timer;

    /// Arms a timer for another instant, earlier or later, whether or not it was ready.
    fn arm(timer: &mut Self::Timer, at: Instant);

    /// Ready once the armed instant has passed; it need not be so a second time
    /// before the timer is armed again.
    fn poll_timer(timer: &mut Self::Timer, context: &mut Context<'_>) -> Poll<()>;

    /// Runs `task` beside the caller, on the application's own executor.
    fn spawn(task: impl Future<Output = ()> + Send + 'static);

    /// Runs `future` on the calling thread, with this runtime's sockets and
    /// timers served by that same thread.
    ///
    /// # Errors
    /// The operating system refused what the runtime needs to start.
    fn block_on<F: Future>(future: F) -> io::Result<F::Output>;

    /// Ends after `length`.
    fn sleep(length: Duration) -> impl Future<Output = ()> + Send {
        async move {
            let mut timer = Self::timer(Instant::now() + length);
            poll_fn(|context| Self::poll_timer(&mut timer, context)).await;
        }
    }
}
