//! A connection's stream that notes whether its client has begun, and ends when the client takes nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use event_listener::Event;
use funk_io::Runtime;
use futures_io::{AsyncRead, AsyncWrite};

use crate::limits::WRITE_STALL_MAX;
use crate::net::BoxFuture;

/// What has come in so far.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    bytes: AtomicUsize,
    more: Event,
}

impl Arrived {
    /// Ends when that many bytes have come in.
    pub(super) async fn at_least(&self, bytes: usize) {
        loop {
            let listener = self.more.listen();
            if self.bytes.load(Ordering::Acquire) >= bytes {
                return;
            }
            listener.await;
        }
    }
}

pub(super) struct Watched<R: Runtime> {
    stream: R::Stream,
    arrived: Arc<Arrived>,
    /// Runs while the client takes nothing.
    stalled: Option<BoxFuture<()>>,
}

impl<R: Runtime> Watched<R> {
    pub(super) fn new(stream: R::Stream, arrived: Arc<Arrived>) -> Self {
        Self { stream, arrived, stalled: None }
    }

    fn note<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(R::sleep(WRITE_STALL_MAX)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<R: Runtime> AsyncRead for Watched<R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Poll::Ready(Ok(length)) = read {
            self.arrived.bytes.fetch_add(length, Ordering::AcqRel);
            self.arrived.more.notify(usize::MAX);
        }
        read
    }
}

impl<R: Runtime> AsyncWrite for Watched<R> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.note(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}
