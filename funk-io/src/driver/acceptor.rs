//! A listener: streams come in through it.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use funk_proto::StreamKind;

use super::hub::{Hub, Source};
use crate::runtime::Runtime;
use crate::seldom::Seldom;

/// Connections taken in one pass: accepting is dearer than reading.
const PASS_ACCEPTS_MAX: usize = 32;
/// Wait after a failed accept: out of descriptors, most likely, and trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Accepting<S> = Pin<Box<dyn Future<Output = io::Result<(S, SocketAddr)>> + Send>>;

pub(super) struct Acceptor<R: Runtime> {
    pub(super) channel: StreamKind,
    listener: Arc<R::Listener>,
    next: Accepting<R::Stream>,
    source: Arc<Source>,
    waker: Waker,
    failures: Seldom,
}

impl<R: Runtime> Acceptor<R> {
    pub(super) fn new(channel: StreamKind, listener: TcpListener, hub: &Arc<Hub>) -> io::Result<Self> {
        let listener = Arc::new(R::listen(listener)?);
        let next = accept::<R>(&listener);
        let source = Source::new(hub);
        let waker = Waker::from(Arc::clone(&source));
        Ok(Self { channel, listener, next, waker, source, failures: Seldom::default() })
    }

    /// The connections that wait, if the acceptor woke the driver.
    pub(super) fn receive(&mut self, mut take: impl FnMut((R::Stream, SocketAddr))) {
        if !self.source.take() {
            return;
        }
        for _ in 0..PASS_ACCEPTS_MAX {
            match self.next.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                Poll::Pending => return,
                Poll::Ready(accepted) => {
                    self.next = accept::<R>(&self.listener);
                    match accepted {
                        Ok(stream) => take(stream),
                        Err(error) => tell_failure(&mut self.failures, self.channel, &error),
                    }
                }
            }
        }
        self.waker.wake_by_ref();
    }
}

fn tell_failure(failures: &mut Seldom, channel: StreamKind, error: &io::Error) {
    if let Some(times) = failures.count() {
        tracing::warn!(?channel, %error, times, "accepting failed");
    }
}

fn accept<R: Runtime>(listener: &Arc<R::Listener>) -> Accepting<R::Stream> {
    let listener = Arc::clone(listener);
    Box::pin(async move {
        let accepted = R::accept(&listener).await;
        if accepted.is_err() {
            R::sleep(ACCEPT_PAUSE).await;
        }
        accepted
    })
}
