//! A connection's stream that notes whether its client has begun, and ends when the client takes nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use event_listener::Event;
use futures_io::{AsyncRead, AsyncWrite};

use super::backlog::Share;
use crate::limits::{READ_RUN_BYTES, WRITE_STALL_MAX};
use crate::net::{AnyRuntime, BoxFuture, Stream};

/// What has come in so far.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    bytes: AtomicUsize,
    more: Event,
    /// Grows each time that the connection's task runs.
    turn: AtomicUsize,
}

impl Arrived {
    /// The connection's task runs.
    pub(super) fn begin_turn(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

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

pub(super) struct Watched {
    stream: Box<dyn Stream>,
    runtime: AnyRuntime,
    arrived: Arc<Arrived>,
    backlog: Arc<Share>,
    /// The turn of the task that read last, and the bytes that were read in it.
    run: (usize, usize),
    /// Runs while the client takes nothing.
    stalled: Option<BoxFuture<()>>,
    /// The first byte, until it is read.
    first: Option<u8>,
}

impl Watched {
    pub(super) fn new(
        stream: Box<dyn Stream>,
        first: Option<u8>,
        runtime: AnyRuntime,
        arrived: Arc<Arrived>,
        backlog: Arc<Share>,
    ) -> Self {
        Self { stream, runtime, arrived, backlog, run: (0, 0), stalled: None, first }
    }

    /// Waits for the client to say anything at all; `false` if it hung up instead. Until then it costs a socket, and
    /// none of the buffers of HTTP.
    pub(super) async fn begun(&mut self) -> bool {
        if self.first.is_some() {
            return true;
        }
        let mut first = [0];
        let read = std::future::poll_fn(|context| Pin::new(&mut self.stream).poll_read(context, &mut first)).await;
        let begun = matches!(read, Ok(1));
        self.first = begun.then_some(first[0]);
        begun
    }

    fn note<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| self.runtime.sleep(WRITE_STALL_MAX));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let turn = self.arrived.turn.load(Ordering::Relaxed);
        if self.run.0 != turn {
            self.run = (turn, 0);
        }
        if self.run.1 >= READ_RUN_BYTES || self.backlog.is_full() {
            // What was read becomes requests, which are queued in the runtime before this task comes again.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let room = buffer.len().min(READ_RUN_BYTES - self.run.1);
        let read = match (self.first.take(), buffer.first_mut()) {
            (Some(first), Some(place)) => {
                *place = first;
                Poll::Ready(Ok(1))
            }
            (first, _) => {
                self.first = first;
                Pin::new(&mut self.stream).poll_read(context, &mut buffer[..room])
            }
        };
        if let Poll::Ready(Ok(length)) = read {
            self.run.1 += length;
            self.arrived.bytes.fetch_add(length, Ordering::AcqRel);
            self.arrived.more.notify(usize::MAX);
        }
        read
    }
}

impl AsyncWrite for Watched {
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
        // Over TLS what was written may still be here.
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.note(flushed, context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}
