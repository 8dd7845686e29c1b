//! One request: to the owner of its shard or to the next node in turn, again
//! where that is safe, until it is answered.
//!
//! | what happened | tried again |
//! |---|---|
//! | no connection; the node says that it did not run | yes |
//! | the connection broke, the owner died or gave the shard away, `UNAVAILABLE` | only if the caller says that it may run twice |
//! | any other answer | no |
//!
//! A retry comes out of the client's budget of retries, so that nodes in trouble
//! get no more work; when that is used up, the caller is told how the last try
//! ended. A dial that failed was no work for a service, and the next is free.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::limits::CLIENT_TRIES_MAX;
use funk_io::Runtime;
use funk_proto::id::ShardId;
use funk_proto::limits::DRAIN_TIMEOUT_MAX;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use tonic::Code;
use tonic::body::Body;
use tower_service::Service;

use super::Shared;
use super::choose::Choice;
use super::stats::Counted;
use crate::attempt::{Attempt, AttemptOutcome, request_to};
use crate::key::{Key, shard_of};
use crate::layer::find_key;
use crate::message::Replay;
use crate::net::{BoxFuture, within};
use crate::pool::Destination;
use crate::reply::{self, error, unavailable};
use crate::routes::Routes;

/// Time for a request whose caller names no deadline.
const DEADLINE: Duration = Duration::from_secs(5);
/// Pause before the first retry; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(10);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// Time for an answer that is on its way when its node is no longer listed.
const LAST_ANSWER: Duration = Duration::from_millis(50);
/// Time in which a node that leaves has closed its connections, whatever its drain timeout is.
const LEAVE_MAX: Duration = Duration::from_secs(DRAIN_TIMEOUT_MAX.as_secs() + 1);

/// Put into a request's extensions: what it is about, where the channel's routes do not say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// A shard.
    Shard(ShardId),
    /// A key, from which the shard follows.
    Key(Key),
}

/// Put into a request's extensions: running it twice does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotent;

/// Sends requests to whoever serves one endpoint. It is a tower service, so it
/// goes into any client that tonic generates. Errors are gRPC answers. The
/// metadata `x-funk-tries` of an answer says how often the request was sent.
pub struct Channel<N> {
    shared: Arc<Shared<N>>,
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    endpoint: String,
    routes: Routes,
    idempotent: BTreeSet<String>,
    deadline: Duration,
    tries_max: u32,
    try_max: Option<Duration>,
}

impl<N> Clone for Channel<N> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), settings: Arc::clone(&self.settings) }
    }
}

impl<N> fmt::Debug for Channel<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("endpoint", &self.settings.endpoint).finish_non_exhaustive()
    }
}

impl<N: Runtime> Channel<N> {
    pub(super) fn new(shared: Arc<Shared<N>>, endpoint: &str) -> Self {
        let settings = Settings {
            endpoint: endpoint.into(),
            routes: Routes::new(),
            idempotent: BTreeSet::new(),
            deadline: DEADLINE,
            tries_max: CLIENT_TRIES_MAX,
            try_max: None,
        };
        Self { shared, settings: Arc::new(settings) }
    }

    /// Finds each request's key as the service does: by the same routes.
    #[must_use]
    pub fn routed_by(mut self, routes: Routes) -> Self {
        self.set().routes = routes;
        self
    }

    /// Running this method (`/package.Service/Method`) twice does no harm.
    #[must_use]
    pub fn idempotent(mut self, path: &str) -> Self {
        self.set().idempotent.insert(path.into());
        self
    }

    /// Time for a request that names no deadline of its own. 5 s by default.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.set().deadline = deadline;
        self
    }

    /// Tries of one request, 1 to [`CLIENT_TRIES_MAX`] (the default).
    #[must_use]
    pub fn tries(mut self, tries_max: u32) -> Self {
        self.set().tries_max = tries_max.clamp(1, CLIENT_TRIES_MAX);
        self
    }

    /// Gives a try of an idempotent request up after this time. Without it, a
    /// try lasts as long as the node is there and the request has time.
    #[must_use]
    pub fn each_try(mut self, try_max: Duration) -> Self {
        self.set().try_max = Some(try_max);
        self
    }

    fn set(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }

    async fn send(self, request: Request<Body>) -> Response<Body> {
        let left = reply::parse_timeout(request.headers()).unwrap_or(self.settings.deadline);
        let deadline = Instant::now() + left;
        let mut counted = self.shared.counters.begin();
        let sent = within::<N, _>(left, self.send_by(request, deadline, &mut counted)).await;
        sent.unwrap_or_else(|| error(Code::DeadlineExceeded, "the deadline went by before a node answered"))
    }

    async fn send_by(&self, request: Request<Body>, deadline: Instant, counted: &mut Counted<'_>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let idempotent =
            parts.extensions.get::<Idempotent>().is_some() || self.settings.idempotent.contains(parts.uri.path());
        let target = parts.extensions.remove::<Target>();
        let (body, target) = match (target, self.settings.routes.get(parts.uri.path())) {
            (Some(target), _) => (Replay::unread(body), Some(target)),
            (None, None) => (Replay::unread(body), None),
            (None, Some(source)) => match find_key(source, &parts, body).await {
                Ok((body, key)) => (body, Some(Target::Key(key))),
                Err(status) => return status.into_http(),
            },
        };
        let job = Job { parts, body, target, idempotent, deadline };
        let mut tries = 0;
        let mut response = self.try_again_and_again(&job, &mut tries, counted).await;
        response.headers_mut().insert(reply::TRIES, HeaderValue::from(tries));
        response
    }

    async fn try_again_and_again(&self, job: &Job, tries: &mut u32, counted: &mut Counted<'_>) -> Response<Body> {
        let mut last: Option<SocketAddr> = None;
        loop {
            // Listening comes before the look: no view can slip in between.
            let changed = self.shared.changed.listen();
            let view = self.shared.view();
            let shard = match &job.target {
                Some(Target::Shard(shard)) => Some(*shard),
                Some(Target::Key(key)) => shard_of(key, view.shards()),
                None => None,
            };
            let Some(choice) = self.shared.failed.choose(&view, &self.settings.endpoint, shard, last) else {
                changed.await;
                continue;
            };
            *tries += 1;
            if *tries > 1 {
                counted.again();
            }
            let outcome = self.try_once(job, &choice).await;
            let free = matches!(outcome, AttemptOutcome::NoConnection(_) | AttemptOutcome::GoneBefore);
            let unanswered = |why: String| unavailable(format!("{}: {why}", choice.node));
            let (ran, why) = match outcome {
                AttemptOutcome::Answered(response) if says_unavailable(&response) => (Ran::Perhaps, response),
                AttemptOutcome::Answered(response) => {
                    self.shared.failed.forgive(choice.address);
                    self.shared.budget.earn();
                    counted.answered(served_by(&response, &choice.node));
                    return response;
                }
                AttemptOutcome::NotRun(response) => (Ran::No, response),
                AttemptOutcome::Full(why) => (Ran::No, unanswered(why)),
                AttemptOutcome::GoneBefore => (Ran::No, unanswered("the node went away".into())),
                AttemptOutcome::NoConnection(why) | AttemptOutcome::NotSent(why) => {
                    self.shared.did_not_answer(&choice);
                    (Ran::No, unanswered(why))
                }
                AttemptOutcome::Gone => {
                    self.shared.did_not_answer(&choice);
                    (Ran::Perhaps, unanswered("the node went away before it answered".into()))
                }
                AttemptOutcome::Silent(why) => {
                    self.shared.did_not_answer(&choice);
                    (Ran::Perhaps, unanswered(why))
                }
            };
            let safe = job.idempotent || ran == Ran::No;
            let again = safe && *tries < self.settings.tries_max && job.body.can_repeat();
            if !again || !(free || self.shared.budget.spend()) {
                return why;
            }
            last = Some(choice.address);
            let pause = PAUSE.saturating_mul(1 << (*tries - 1).min(8)).min(PAUSE_MAX);
            // The news that the owner is another one may come first.
            within::<N, _>(pause, changed).await;
        }
    }

    async fn try_once(&self, job: &Job, choice: &Choice) -> AttemptOutcome {
        let attempt = Attempt {
            pool: &self.shared.pool,
            to: Destination::member(choice.address, &choice.node),
            request: job.request(choice.address),
            gone: Box::pin(gone(Arc::clone(&self.shared), choice.clone())),
            last_word: Duration::ZERO,
        };
        let running = attempt.run();
        match self.settings.try_max.filter(|_| job.idempotent) {
            None => running.await,
            Some(try_max) => within::<N, _>(try_max, running).await.unwrap_or_else(|| {
                // The connection may be dead without a word: the next try dials anew.
                self.shared.pool.forget(choice.address);
                AttemptOutcome::Silent(format!("no answer within {try_max:?}"))
            }),
        }
    }
}

/// A request on its way.
struct Job {
    parts: Parts,
    body: Replay,
    target: Option<Target>,
    idempotent: bool,
    deadline: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ran {
    No,
    Perhaps,
}

/// Whether a node says that it is not available: who knows how far it came.
fn says_unavailable(response: &Response<Body>) -> bool {
    let status = response.headers().get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
    status == Some(Code::Unavailable)
}

/// Whether `node` served it itself. An answer that names nobody is its own: nodes pass on only what has a shard.
fn served_by(response: &Response<Body>, node: &str) -> bool {
    response.headers().get(reply::NODE).is_none_or(|served| served.as_bytes() == node.as_bytes())
}

/// Ends when no answer of this boot of the node can come any more. What it answered last may be on its way for a moment,
/// and a node that leaves in order answers what it has begun before it closes its connections.
async fn gone<N: Runtime>(shared: Arc<Shared<N>>, choice: Choice) {
    let mut leaves = false;
    loop {
        let changed = shared.changed.listen();
        match shared.view().node(&choice.node, choice.boot) {
            Some(node) => leaves |= node.leaving,
            None => break,
        }
        changed.await;
    }
    N::sleep(if leaves { LEAVE_MAX } else { LAST_ANSWER }).await;
}

impl Job {
    fn request(&self, address: SocketAddr) -> Request<Body> {
        let mut request = request_to(address, &self.parts, self.body.attempt());
        let left = self.deadline.saturating_duration_since(Instant::now());
        request.headers_mut().insert(reply::TIMEOUT, reply::format_timeout(left));
        request
    }
}

impl<N: Runtime> Service<Request<Body>> for Channel<N> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let channel = self.clone();
        Box::pin(async move { Ok(channel.send(request).await) })
    }
}
