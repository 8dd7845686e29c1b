//! What hyper needs of an async runtime, and streams as this crate uses them.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use funk_io::Runtime;
use futures_io::{AsyncRead, AsyncWrite};
use rustix::process::{Resource, getrlimit};

use crate::limits::DESCRIPTORS_RESERVED;

/// A boxed future that may move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A stream of any runtime, once it is there.
type Dialled = BoxFuture<io::Result<Box<dyn Stream>>>;

/// An accepted stream, and where it comes from.
pub(crate) type Accepted = (Box<dyn Stream>, SocketAddr);

/// A stream of any runtime.
pub(crate) trait Stream: AsyncRead + AsyncWrite + AsFd + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + AsFd + Unpin + Send> Stream for S {}

/// A listener of any runtime.
pub(crate) trait Listener: Send + Sync {
    /// The next accepted connection. What is written leaves at once.
    fn accept(&self) -> Pin<Box<dyn Future<Output = io::Result<Accepted>> + Send + '_>>;
}

/// What is written on the stream leaves at once.
fn without_delay(stream: impl Stream + 'static) -> io::Result<Box<dyn Stream>> {
    socket2::SockRef::from(&stream).set_tcp_nodelay(true)?;
    Ok(Box::new(stream))
}

struct ListenerOf<R: Runtime>(R::Listener);

impl<R: Runtime> Listener for ListenerOf<R> {
    fn accept(&self) -> Pin<Box<dyn Future<Output = io::Result<Accepted>> + Send + '_>> {
        Box::pin(async move {
            let (stream, peer) = R::accept(&self.0).await?;
            Ok((without_delay(stream)?, peer))
        })
    }
}

/// A runtime as a value. HTTP is built on this, so it is compiled once in this crate, and not for each runtime and
/// each service in the crates that name them: that would take more time than all the rest of a program.
#[derive(Clone, Copy)]
pub(crate) struct AnyRuntime {
    listen: fn(std::net::TcpListener) -> io::Result<Box<dyn Listener>>,
    connect: fn(SocketAddr) -> Dialled,
    spawn: fn(BoxFuture<()>),
    sleep: fn(Duration) -> BoxFuture<()>,
}

impl AnyRuntime {
    pub(crate) fn of<R: Runtime>() -> Self {
        Self {
            listen: |listener| Ok(Box::new(ListenerOf::<R>(R::listen(listener)?))),
            connect: |address| Box::pin(async move { without_delay(R::connect(address).await?) }),
            spawn: |task| R::spawn(task),
            sleep: |length| Box::pin(R::sleep(length)),
        }
    }

    /// Takes over a listener of the standard library.
    pub(crate) fn listen(self, listener: std::net::TcpListener) -> io::Result<Box<dyn Listener>> {
        (self.listen)(listener)
    }

    /// Connects to `address`. What is written leaves at once.
    pub(crate) async fn connect(self, address: SocketAddr) -> io::Result<Box<dyn Stream>> {
        (self.connect)(address).await
    }

    /// Runs `task` beside the caller.
    pub(crate) fn spawn(self, task: impl Future<Output = ()> + Send + 'static) {
        (self.spawn)(Box::pin(task));
    }

    /// Ends after `length`.
    pub(crate) fn sleep(self, length: Duration) -> BoxFuture<()> {
        (self.sleep)(length)
    }

    /// `future`'s value, or `None` when `length` went by first.
    pub(crate) async fn within<T>(self, length: Duration, future: impl Future<Output = T>) -> Option<T> {
        futures_lite::future::or(async { Some(future.await) }, async {
            self.sleep(length).await;
            None
        })
        .await
    }
}

impl fmt::Debug for AnyRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyRuntime").finish_non_exhaustive()
    }
}

/// Whether a stream has one of the last file descriptors that this process may have: they are given out from below.
pub(crate) fn is_among_last(stream: &(impl AsFd + ?Sized)) -> bool {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let number = u64::try_from(stream.as_fd().as_raw_fd()).unwrap_or(0);
    number >= limit.saturating_sub(DESCRIPTORS_RESERVED.min(limit / 4))
}

/// `future`'s value, or `None` when `length` went by first.
pub(crate) async fn within<N: Runtime, T>(length: Duration, future: impl Future<Output = T>) -> Option<T> {
    AnyRuntime::of::<N>().within(length, future).await
}

impl<F> hyper::rt::Executor<F> for AnyRuntime
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        self.spawn(async move {
            future.await;
        });
    }
}

impl hyper::rt::Timer for AnyRuntime {
    fn sleep(&self, length: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleep(Mutex::new(Some((self.sleep)(length)))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        hyper::rt::Timer::sleep(self, deadline.saturating_duration_since(Instant::now()))
    }
}

/// A sleep that hyper may share: the mutex is never locked, it only makes the future `Sync`.
/// Empty once it is over: hyper polls a sleep again that has ended.
struct Sleep(Mutex<Option<BoxFuture<()>>>);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_mut().expect("nothing panics while it holds this");
        if let Some(asleep) = sleep {
            std::task::ready!(asleep.as_mut().poll(context));
            *sleep = None;
        }
        Poll::Ready(())
    }
}

impl hyper::rt::Sleep for Sleep {}

#[cfg(test)]
mod tests {
    use hyper::rt::Timer;

    use super::*;

    #[test]
    fn a_sleep_that_is_over_may_be_polled_again() {
        smol::block_on(async {
            let mut sleep = Timer::sleep(&AnyRuntime::of::<funk_smol::Smol>(), Duration::from_millis(1));
            sleep.as_mut().await;
            sleep.as_mut().await;
        });
    }
}
