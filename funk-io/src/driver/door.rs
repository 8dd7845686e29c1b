//! A listener: streams come in through it.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use funk_proto::Channel;

use super::hub::{Hub, Source};
use crate::runtime::Runtime;

/// Connections taken in one pass: accepting is dearer than reading.
const PASS_ACCEPTS_MAX: usize = 32;
/// Wait after a failed accept: out of descriptors, most likely, and trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Accepting<S> = Pin<Box<dyn Future<Output = io::Result<(S, SocketAddr)>> + Send>>;

pub(super) struct Door<R: Runtime> {
    pub(super) channel: Channel,
    listener: Arc<R::Listener>,
    next: Accepting<R::Stream>,
    source: Arc<Source>,
    waker: Waker,
    failures: Failures,
}

impl<R: Runtime> Door<R> {
    pub(super) fn new(channel: Channel, listener: TcpListener, hub: &Arc<Hub>) -> io::Result<Self> {
        let listener = Arc::new(R::listen(listener)?);
        let next = accept::<R>(&listener);
        let source = Source::new(hub);
        let waker = Waker::from(Arc::clone(&source));
        Ok(Self { channel, listener, next, waker, source, failures: Failures::default() })
    }

    /// The connections that wait, if the door woke the driver.
    pub(super) fn receive(&mut self, mut take: impl FnMut(R::Stream)) {
        if !self.source.take() {
            return;
        }
        for _ in 0..PASS_ACCEPTS_MAX {
            match self.next.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                Poll::Pending => return,
                Poll::Ready(accepted) => {
                    self.next = accept::<R>(&self.listener);
                    match accepted {
                        Ok((stream, _)) => take(stream),
                        Err(error) => self.failures.tell(self.channel, &error),
                    }
                }
            }
        }
        self.waker.wake_by_ref();
    }
}

/// Failed accepts, told once a second.
#[derive(Debug, Default)]
struct Failures {
    told: Option<Instant>,
    times: u64,
}

impl Failures {
    fn tell(&mut self, channel: Channel, error: &io::Error) {
        if let Some(times) = self.due() {
            tracing::warn!(?channel, %error, times, "accepting failed");
        }
    }

    /// How often it failed since that was told last, if it may be told now.
    fn due(&mut self) -> Option<u64> {
        self.times += 1;
        if self.told.is_some_and(|told| told.elapsed() < Duration::from_secs(1)) {
            return None;
        }
        self.told = Some(Instant::now());
        Some(std::mem::take(&mut self.times))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_door_tells_its_failures_once_a_second_and_how_many_they_were() {
        let (mut cluster, mut gossip) = (Failures::default(), Failures::default());
        assert_eq!(cluster.due(), Some(1));
        assert!((0..500).filter_map(|_| cluster.due()).count() <= 1, "unless a second went by");
        assert_eq!(gossip.due(), Some(1), "another door waits for nobody");
        let silent = cluster.times;
        cluster.told = cluster.told.and_then(|told| told.checked_sub(Duration::from_secs(1)));
        assert_eq!(cluster.due(), Some(silent + 1));
        assert_eq!(cluster.times, 0);
    }
}
