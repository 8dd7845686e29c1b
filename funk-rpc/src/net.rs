//! What hyper needs of an async runtime, and streams as this crate uses them.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use funk_io::Runtime;
use rustix::process::{Resource, getrlimit};

use crate::limits::DESCRIPTORS_RESERVED;

/// A boxed future that may move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The next accepted connection. What is written leaves at once.
pub(crate) async fn accept<R: Runtime>(listener: &R::Listener) -> io::Result<(R::Stream, SocketAddr)> {
    let (stream, peer) = R::accept(listener).await?;
    socket2::SockRef::from(&stream).set_tcp_nodelay(true)?;
    Ok((stream, peer))
}

/// Connects to `address`. What is written leaves at once.
pub(crate) async fn connect<R: Runtime>(address: SocketAddr) -> io::Result<R::Stream> {
    let stream = R::connect(address).await?;
    socket2::SockRef::from(&stream).set_tcp_nodelay(true)?;
    Ok(stream)
}

/// Whether a stream has one of the last file descriptors that this process may have: they are given out from below.
pub(crate) fn is_among_last(stream: &impl AsFd) -> bool {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let number = u64::try_from(stream.as_fd().as_raw_fd()).unwrap_or(0);
    number >= limit.saturating_sub(DESCRIPTORS_RESERVED.min(limit / 4))
}

/// `future`'s value, or `None` when `length` went by first.
pub(crate) async fn within<N: Runtime, T>(length: Duration, future: impl Future<Output = T>) -> Option<T> {
    futures_lite::future::or(async { Some(future.await) }, async {
        N::sleep(length).await;
        None
    })
    .await
}

/// Hyper's executor over [`Runtime::spawn`].
pub(crate) struct Exec<N>(PhantomData<fn() -> N>);

impl<N> Exec<N> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<N> Clone for Exec<N> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<N: Runtime, F> hyper::rt::Executor<F> for Exec<N>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        N::spawn(async move {
            future.await;
        });
    }
}

/// Hyper's timer over [`Runtime::sleep`].
pub(crate) struct Timer<N>(PhantomData<fn() -> N>);

impl<N> Timer<N> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<N: Runtime> hyper::rt::Timer for Timer<N> {
    fn sleep(&self, length: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleep(Mutex::new(Some(Box::pin(N::sleep(length))))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep(deadline.saturating_duration_since(Instant::now()))
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
    use hyper::rt::Timer as _;

    use super::*;

    #[test]
    fn a_sleep_that_is_over_may_be_polled_again() {
        smol::block_on(async {
            let mut sleep = Timer::<funk_smol::Smol>::new().sleep(Duration::from_millis(1));
            sleep.as_mut().await;
            sleep.as_mut().await;
        });
    }
}
