//! A runtime's stream as h2 wants it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use funk_tls::rustls;
use futures_io::{AsyncRead, AsyncWrite};
use tokio::io::ReadBuf;

use crate::tls::Heard;

/// A stream of any runtime behind the traits that h2 reads and writes by. No part of that runtime is used.
pub(super) struct Io<S> {
    pub(super) stream: S,
    /// Notes what is read, over TLS.
    pub(super) heard: Option<Arc<Heard>>,
}

impl<S: AsyncRead + Unpin> tokio::io::AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer.initialize_unfilled());
        if let Some(heard) = &self.heard {
            heard.note(&read);
        }
        let length = ready!(read)?;
        buffer.advance(length);
        Poll::Ready(Ok(()))
    }
}

/// The error of a write whose connection is gone. No other error promises that reading ends, too.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset | ConnectionAborted)
}

impl<S: AsyncRead + Unpin> Io<S> {
    /// Whoever does not believe this side's certificate says so and closes. A write may fail before that was read, and
    /// before the runtime knows that there is something to read; so the write ends when reading has ended.
    fn after<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let (Poll::Ready(Err(error)), Some(heard)) = (&written, &self.heard) else { return written };
        if !is_end(error) {
            return written;
        }
        loop {
            match ready!(Pin::new(&mut self.stream).poll_read(context, &mut [0])) {
                Ok(1..) => {}
                Ok(0) => return written,
                Err(error) => {
                    if error.get_ref().is_some_and(|error| error.is::<rustls::Error>()) {
                        heard.note(&Poll::Ready(Err(error)));
                    }
                    return written;
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> tokio::io::AsyncWrite for Io<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.after(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.after(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.after(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use funk_tls::rustls::AlertDescription;
    use tokio::io::AsyncWrite as _;

    use super::*;

    /// A stream whose other side said why, and closed. The runtime knows of that when it has looked once.
    #[derive(Default)]
    struct Closed {
        looked: bool,
    }

    impl AsyncRead for Closed {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            if !std::mem::replace(&mut self.looked, true) {
                return Poll::Pending;
            }
            let alert = rustls::Error::AlertReceived(AlertDescription::UnknownCA);
            Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, alert)))
        }
    }

    impl AsyncWrite for Closed {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_write_that_fails_leaves_the_reason_that_the_other_side_gave() {
        let mut context = Context::from_waker(Waker::noop());
        type Write = fn(Pin<&mut Io<Closed>>, &mut Context<'_>) -> bool;
        let writes: [Write; 3] = [
            |io, context| matches!(io.poll_write(context, b"x"), Poll::Ready(Err(_))),
            |io, context| matches!(io.poll_write_vectored(context, &[io::IoSlice::new(b"x")]), Poll::Ready(Err(_))),
            |io, context| matches!(io.poll_flush(context), Poll::Ready(Err(_))),
        ];
        for fails in writes {
            let heard: Arc<Heard> = Arc::default();
            let mut io = Io { stream: Closed::default(), heard: Some(Arc::clone(&heard)) };
            assert!(!fails(Pin::new(&mut io), &mut context), "nothing was read yet");
            assert!(fails(Pin::new(&mut io), &mut context));
            let told = heard.failure();
            assert!(matches!(told, Some(rustls::Error::AlertReceived(AlertDescription::UnknownCA))), "{told:?}");
        }
    }
}
