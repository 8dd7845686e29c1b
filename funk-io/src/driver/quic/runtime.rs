//! quinn's runtime, over ours: its tasks run on an executor of the endpoint's thread.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::marker::PhantomData;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use async_executor::Executor;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncTimer, AsyncUdpSocket, UdpPoller};

use crate::runtime::Runtime;

/// Where quinn's tasks, timers and socket are.
pub(super) struct Here<R> {
    executor: Arc<Executor<'static>>,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Here<R> {
    pub(super) fn new(executor: &Arc<Executor<'static>>) -> Self {
        Self { executor: Arc::clone(executor), runtime: PhantomData }
    }
}

impl<R> fmt::Debug for Here<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Here").finish_non_exhaustive()
    }
}

impl<R: Runtime> quinn::Runtime for Here<R> {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer::<R>(R::timer(at)))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.executor.spawn(future).detach();
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let local = socket.local_addr()?;
        Ok(Arc::new(Udp::<R> { io: Mutex::new(R::udp(socket)?), local, blocked: Arc::default() }))
    }
}

struct Timer<R: Runtime>(R::Timer);

impl<R: Runtime> Unpin for Timer<R> {}

impl<R: Runtime> fmt::Debug for Timer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").finish_non_exhaustive()
    }
}

impl<R: Runtime> AsyncTimer for Timer<R> {
    fn reset(self: Pin<&mut Self>, at: Instant) {
        R::arm(&mut self.get_mut().0, at);
    }

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        R::poll_timer(&mut self.get_mut().0, context)
    }
}

struct Udp<R: Runtime> {
    io: Mutex<R::Udp>,
    local: SocketAddr,
    /// The connections that wait for the socket to take more: a socket of a runtime wakes only who asked last.
    blocked: Arc<Blocked>,
}

impl<R: Runtime> Udp<R> {
    fn io(&self) -> MutexGuard<'_, R::Udp> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Runtime> fmt::Debug for Udp<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Udp").field("local", &self.local).finish_non_exhaustive()
    }
}

/// All who wait, behind one waker.
#[derive(Debug, Default)]
struct Blocked(Mutex<Vec<Waker>>);

impl Blocked {
    fn add(&self, waker: &Waker) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }
}

impl Wake for Blocked {
    fn wake(self: Arc<Self>) {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl<R: Runtime> AsyncUdpSocket for Udp<R> {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller(self))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match R::try_send_to(&mut self.io(), transmit.contents, transmit.destination) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            // What the operating system does not take is a lost packet: it is sent again.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (mut io, mut count) = (self.io(), 0);
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            let (length, from) = loop {
                match R::poll_recv_from(&mut io, context, buffer) {
                    Poll::Ready(Ok(received)) => break received,
                    // Some packet sent earlier found nobody; the kernel does not say which.
                    Poll::Ready(Err(_)) => {}
                    Poll::Pending if count > 0 => return Poll::Ready(Ok(count)),
                    Poll::Pending => return Poll::Pending,
                }
            };
            *meta = RecvMeta::default();
            (meta.addr, meta.len, meta.stride) = (from, length, length);
            count += 1;
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

struct Poller<R: Runtime>(Arc<Udp<R>>);

impl<R: Runtime> fmt::Debug for Poller<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Poller").field(&self.0).finish()
    }
}

impl<R: Runtime> UdpPoller for Poller<R> {
    fn poll_writable(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let udp = &self.0;
        // First in the list, then asked: whoever is woken in between is in it.
        udp.blocked.add(context.waker());
        let all = Waker::from(Arc::clone(&udp.blocked));
        let ready = R::poll_writable(&mut udp.io(), &mut Context::from_waker(&all));
        if ready.is_ready() {
            all.wake();
        }
        ready
    }
}
