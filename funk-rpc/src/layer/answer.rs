//! Serving here, under a guard that lives as long as the answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use funk_io::Runtime;
use funk_proto::id::{NodeName, ShardId};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use super::{Job, mark};
use crate::limits::LEASE_BACK_MAX;
use crate::net::within;
use crate::reply::{unavailable, unavailable_trailers};
use crate::view::Guard;

/// Runs the handler; its answer leaves only while the guard is valid. A lease that lapses for a moment is waited for.
pub(super) async fn local<N, S, G>(node: &NodeName, mut inner: S, job: Job, shard: ShardId, guard: G) -> Response<Body>
where
    N: Runtime,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    G: Guard,
{
    let guard = Arc::new(guard);
    let mut request = Request::from_parts(job.parts, job.body.attempt());
    request.extensions_mut().insert(Arc::clone(&guard));
    if let Err(never) = std::future::poll_fn(|context| inner.poll_ready(context)).await {
        match never {}
    }
    let mut response = match inner.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if !guard.is_valid() && within::<N, _>(LEASE_BACK_MAX, guard.holds()).await != Some(true) {
        return unavailable("the shard moved away while it was served");
    }
    mark(&mut response, node, shard, &*guard);
    response.map(|body| Body::new(Guarded { body, guard, withheld: false }))
}

/// A response body that ends with an error once its guard is no longer valid.
struct Guarded<G> {
    body: Body,
    guard: Arc<G>,
    withheld: bool,
}

impl<G: Guard> HttpBody for Guarded<G> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.withheld {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_some() && !self.guard.is_valid() {
            self.withheld = true;
            let trailers = unavailable_trailers("the shard moved away while it was served");
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.withheld || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}
