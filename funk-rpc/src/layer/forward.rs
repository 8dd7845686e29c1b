//! The one hop to the owner of a shard.

use std::time::{Duration, Instant};

use funk_io::Runtime;
use funk_proto::id::{BootId, Epoch, ShardId};
use http::{HeaderMap, HeaderValue, Request, Response};
use tonic::Code;
use tonic::body::Body;

use super::{Job, Shared};
use crate::attempt::{Attempt, AttemptOutcome, request_to};
use crate::caller::{CALLER, Caller};
use crate::limits::ROUTE_RETRIES_MAX;
use crate::net::within;
use crate::pool::Destination;
use crate::reply::{self, error, not_run, unavailable};
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
    pub(super) to: Destination,
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
        let attempt = Attempt {
            pool: &self.pool,
            to: owner.to.clone(),
            request: forwarded(job, owner),
            gone: Box::pin(gone::<N, V>(self.view.clone(), watch.clone(), owner.shard, owner.boot)),
            last_word: PAUSE,
        };
        let may_repeat = *tries < ROUTE_RETRIES_MAX && job.body.can_repeat();
        let why = match attempt.run().await {
            AttemptOutcome::Answered(response) => return Some(response),
            AttemptOutcome::GoneBefore => return None,
            AttemptOutcome::Gone => return Some(unavailable("the shard's owner changed before it answered")),
            AttemptOutcome::Silent(why) => {
                return Some(unavailable(format!("the shard's owner did not answer: {why}")));
            }
            AttemptOutcome::Full(why) => return Some(not_run(error(Code::ResourceExhausted, why))),
            AttemptOutcome::NotRun(response) => match refusal(&response) {
                None => return Some(response),
                Some(epoch) if may_repeat && epoch > self.view.routes().epoch() => {
                    *tries += 1;
                    self.catch_up(epoch, job.patience).await;
                    return None;
                }
                Some(_) => "it does not own the shard".into(),
            },
            AttemptOutcome::NoConnection(why) | AttemptOutcome::NotSent(why) => why,
        };
        if !may_repeat {
            return Some(not_run(unavailable(format!("the shard's owner did not take the request: {why}"))));
        }
        let pause = PAUSE * 2_u32.pow(*tries);
        *tries += 1;
        let left = job.patience.saturating_duration_since(Instant::now());
        within::<N, _>(pause.min(left), moved(self.view.clone(), watch, owner.shard, owner.boot)).await;
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

/// Ends when no answer can come any more: `boot` is no longer up, or gave `shard` away a moment ago. What it answered
/// under its guard before that may still be under way.
async fn gone<N: Runtime, V: View>(view: V, watch: V::Watch, shard: ShardId, boot: BootId) {
    moved(view.clone(), watch, shard, boot).await;
    if view.routes().nodes().iter().any(|node| node.boot == boot && node.up) {
        N::sleep(PAUSE).await;
    }
}

/// Ends when `boot` no longer owns `shard`, or is no longer up.
async fn moved<V: View>(view: V, mut watch: V::Watch, shard: ShardId, boot: BootId) {
    loop {
        let there = view.routes().owner(shard).is_some_and(|(node, _)| node.boot == boot && node.up);
        if !there {
            return;
        }
        watch.changed().await;
    }
}

fn forwarded(job: &Job, owner: &Owner) -> Request<Body> {
    let mut request = request_to(owner.to.address(), &job.parts, job.body.attempt());
    let headers = request.headers_mut();
    headers.insert(reply::HOP, HeaderValue::from_static("1"));
    headers.insert(reply::MAP_EPOCH, HeaderValue::from(owner.epoch.0));
    // Nobody but this node says who called it.
    headers.remove(CALLER);
    let caller = job.parts.extensions.get::<Caller>().filter(|caller| caller.identity.is_some());
    if let Some(caller) = caller.and_then(Caller::header) {
        headers.insert(CALLER, caller);
    }
    if let Some(deadline) = job.deadline {
        let left = deadline.saturating_duration_since(Instant::now());
        headers.insert(reply::TIMEOUT, reply::format_timeout(left));
    }
    request
}
