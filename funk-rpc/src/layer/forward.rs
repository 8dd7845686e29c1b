//! The one hop to the owner of a shard.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use funk_io::Runtime;
use funk_proto::id::{BootId, Epoch, ShardId};
use funk_proto::limits::ROUTE_RETRIES_MAX;
use futures_lite::future;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, Version, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;

use super::{Job, Shared};
use crate::net::{BoxFuture, within};
use crate::pool::SendError;
use crate::reply::{self, not_run, unavailable, unavailable_trailers};
use crate::view::{View, Watch};

/// Pause before the first retry; each further one is twice as long. An owner that will be one in a moment
/// takes that time itself.
pub(super) const PAUSE: Duration = Duration::from_millis(25);

/// Who should serve.
pub(super) struct Owner {
    pub(super) shard: ShardId,
    /// The map that says so.
    pub(super) epoch: Epoch,
    pub(super) boot: BootId,
    pub(super) address: SocketAddr,
}

impl<N: Runtime, V: View> Shared<N, V> {
    /// Sends the request to the owner. `None`: it did not run there, look again who owns the shard.
    pub(super) async fn forward(
        &self,
        job: &Job,
        owner: &Owner,
        watch: V::Watch,
        tries: &mut u32,
    ) -> Option<Response<Body>> {
        let mut gone = Box::pin(gone(self.view.clone(), watch, owner.shard, owner.boot)) as BoxFuture<()>;
        // Nothing was sent yet.
        if future::poll_once(gone.as_mut()).await.is_some() {
            return None;
        }
        let mut sending = Box::pin(self.pool.send(owner.address, forwarded(job, owner)));
        let changed = async {
            gone.as_mut().await;
            None
        };
        let why = match future::or(async { Some(sending.as_mut().await) }, changed).await {
            None => {
                // It may say yet that it did not run.
                let late = within::<N, _>(PAUSE, sending).await;
                let refused = late.and_then(Result::ok).is_some_and(|response| refusal(&response).is_some());
                if refused && *tries < ROUTE_RETRIES_MAX && job.body.can_repeat() {
                    *tries += 1;
                    return None;
                }
                self.pool.forget(owner.address);
                return Some(unavailable("the shard's owner changed before it answered"));
            }
            Some(Err(SendError::Sent(why))) => {
                return Some(unavailable(format!("the shard's owner did not answer: {why}")));
            }
            Some(Err(SendError::NoConnection(why) | SendError::NotSent(why))) => why,
            Some(Ok(response)) => match refusal(&response) {
                None => return Some(response.map(|body| Body::new(HopBody::new(body, gone)))),
                Some(epoch) => {
                    if *tries < ROUTE_RETRIES_MAX && job.body.can_repeat() && epoch > self.view.routes().epoch() {
                        *tries += 1;
                        self.catch_up(epoch, job.patience).await;
                        return None;
                    }
                    "it does not own the shard".into()
                }
            },
        };
        if *tries >= ROUTE_RETRIES_MAX || !job.body.can_repeat() {
            return Some(not_run(unavailable(format!("the shard's owner did not take the request: {why}"))));
        }
        let pause = PAUSE * 2_u32.pow(*tries);
        *tries += 1;
        let left = job.patience.saturating_duration_since(Instant::now());
        within::<N, _>(pause.min(left), gone).await;
        None
    }

    /// Waits until this node's table is at least as new as `epoch`.
    async fn catch_up(&self, epoch: Epoch, until: Instant) {
        loop {
            let mut watch = self.view.watch();
            if self.view.routes().epoch() >= epoch || !self.wait(&mut watch, until).await {
                return;
            }
        }
    }
}

/// The map epoch of a node that answered, before any handler ran, that it is not the owner.
fn refusal<B>(response: &Response<B>) -> Option<Epoch> {
    response.headers().get(reply::NOT_OWNER)?;
    map_epoch(response.headers())
}

/// The map epoch of whoever sent these headers.
pub(super) fn map_epoch(headers: &HeaderMap) -> Option<Epoch> {
    Some(Epoch(headers.get(reply::MAP_EPOCH)?.to_str().ok()?.parse().ok()?))
}

/// Ends when `boot` no longer owns `shard`, or is no longer up.
async fn gone<V: View>(view: V, mut watch: V::Watch, shard: ShardId, boot: BootId) {
    loop {
        let there = view.routes().owner(shard).is_some_and(|(node, _)| node.boot == boot && node.up);
        if !there {
            return;
        }
        watch.changed().await;
    }
}

fn forwarded(job: &Job, owner: &Owner) -> Request<Body> {
    let path = job.parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri: Uri = format!("http://{}{path}", owner.address).parse().expect("an address and a parsed path make a URI");
    let mut headers: HeaderMap = job.parts.headers.clone();
    for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        headers.remove(name);
    }
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(reply::HOP, HeaderValue::from_static("1"));
    headers.insert(reply::MAP_EPOCH, HeaderValue::from(owner.epoch.0));
    if let Some(deadline) = job.deadline {
        let left = deadline.saturating_duration_since(Instant::now());
        headers.insert(reply::TIMEOUT, reply::format_timeout(left));
    }
    let mut request = Request::new(job.body.attempt());
    *request.method_mut() = job.parts.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    request
}

/// The body of a forwarded answer: it breaks off when its node is gone, since
/// a stopped process keeps its connections open and says nothing.
pub(crate) struct HopBody {
    body: Incoming,
    gone: Option<BoxFuture<()>>,
    ended: bool,
}

impl HopBody {
    /// `body`, until `gone` ends.
    pub(crate) fn new(body: Incoming, gone: BoxFuture<()>) -> Self {
        Self { body, gone: Some(gone), ended: false }
    }

    /// Ends the answer with trailers: an error of the body would reach the caller as a reset
    /// stream, which says nothing about calling again.
    fn end(&mut self, why: &'static str) -> Frame<Bytes> {
        self.ended = true;
        Frame::trailers(unavailable_trailers(why))
    }
}

impl HttpBody for HopBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // What has arrived was sent under a valid guard, so it goes first.
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let frame = match frame {
                None => {
                    self.ended = true;
                    None
                }
                Some(Ok(frame)) => Some(frame),
                Some(Err(error)) => {
                    tracing::debug!(%error, "the answer of a shard's owner broke off");
                    Some(self.end("the shard's owner broke off"))
                }
            };
            return Poll::Ready(frame.map(Ok));
        }
        if self.gone.as_mut().is_some_and(|gone| gone.as_mut().poll(context).is_pending()) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(self.end("the shard's owner changed before it had answered"))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}
