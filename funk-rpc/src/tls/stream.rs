//! A secured stream, and who is behind it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use event_listener::Event;
use funk_tls::rustls::pki_types::{CertificateDer, UnixTime};
use funk_tls::{Credentials, Current, Identity, Refused, Roles, rustls};
use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::TlsStream;

/// A stream whose first byte was read already.
pub(crate) struct Prefixed<S> {
    pub(crate) stream: S,
    pub(crate) first: Option<u8>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match (self.first.take(), buffer.first_mut()) {
            (Some(first), Some(place)) => {
                *place = first;
                Poll::Ready(Ok(1))
            }
            (first, _) => {
                self.first = first;
                Pin::new(&mut self.stream).poll_read(context, buffer)
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

impl<S: AsFd> AsFd for Prefixed<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// A stream after its handshake.
pub(crate) struct Secured<S>(pub(crate) TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secured<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}

impl<S: AsFd> AsFd for Secured<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().0.as_fd()
    }
}

/// Who showed a certificate that was believed, and how to look again whether it is.
#[derive(Clone, Debug)]
pub(crate) struct Authenticated {
    pub(crate) identity: Arc<Identity>,
    chain: Vec<CertificateDer<'static>>,
    roles: Roles,
    at: UnixTime,
    generation: u64,
    current: Current,
}

impl Authenticated {
    /// Whoever is on the other side of `stream`, if it was asked for a certificate.
    pub(crate) fn of<S>(
        stream: &TlsStream<S>,
        current: &Current,
        generation: u64,
        roles: Roles,
    ) -> Result<Option<Self>, Refused> {
        let chain = stream.get_ref().1.peer_certificates();
        let Some(identity) = funk_tls::peer(chain, None)? else { return Ok(None) };
        let chain = chain.into_iter().flatten().map(|part| part.clone().into_owned()).collect();
        let (identity, current) = (Arc::new(identity), current.clone());
        Ok(Some(Self { identity, chain, roles, at: UnixTime::now(), generation, current }))
    }

    /// Ends when a new generation of credentials does not believe it any more.
    pub(crate) async fn no_longer_believed(&self) -> Refused {
        let mut seen = self.generation;
        loop {
            let changed = self.current.changed();
            let generation = self.current.generation();
            if generation != seen {
                seen = generation;
                let now: Arc<Credentials> = self.current.get();
                if let Err(refused) = now.check_again(&self.chain, self.roles, self.at) {
                    return refused;
                }
                continue;
            }
            changed.await;
        }
    }

    /// Whether the credentials are still those of its handshake.
    pub(crate) fn is_of_now(&self) -> bool {
        self.current.generation() == self.generation
    }
}

/// Notes whether anything was read from a stream, and what TLS failed with.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    any: AtomicBool,
    event: Event,
    failed: Mutex<Option<rustls::Error>>,
}

impl Heard {
    /// Ends when anything was read.
    pub(crate) async fn anything(&self) {
        loop {
            let listener = self.event.listen();
            if self.any.load(Ordering::Acquire) {
                return;
            }
            listener.await;
        }
    }

    /// What TLS failed with.
    pub(crate) fn failure(&self) -> Option<rustls::Error> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of a read.
    pub(crate) fn note(&self, read: &Poll<io::Result<usize>>) {
        match read {
            Poll::Ready(Ok(1..)) if !self.any.load(Ordering::Relaxed) => {
                self.any.store(true, Ordering::Release);
                self.event.notify(usize::MAX);
            }
            Poll::Ready(Err(error)) => {
                let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = error.cloned();
            }
            _ => {}
        }
    }
}
