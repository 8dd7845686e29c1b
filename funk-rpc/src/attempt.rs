//! One sending of a request to one node, raced against the news that the node is gone. The layer's hop and the
//! client outside of the cluster send by this; what they try again is their own.

use std::net::SocketAddr;
use std::time::Duration;

use funk_io::Runtime;
use futures_lite::future;
use http::request::Parts;
use http::{HeaderValue, Request, Response, Uri, Version, header};
use tonic::body::Body;

use crate::hop_body::HopBody;
use crate::net::{BoxFuture, within};
use crate::pool::{Destination, Pool, SendError};
use crate::reply;

/// A request for one node.
pub(crate) struct Attempt<'a, N> {
    pub(crate) pool: &'a Pool<N>,
    pub(crate) to: Destination,
    pub(crate) request: Request<Body>,
    /// Ends when the node is no longer there.
    pub(crate) gone: BoxFuture<()>,
    /// Time that a node which is gone has to say that the request did not run.
    pub(crate) last_word: Duration,
}

/// How it ended.
pub(crate) enum AttemptOutcome {
    /// The node answered. The answer's body breaks off when the node is gone.
    Answered(Response<Body>),
    /// The node says that no handler ran.
    NotRun(Response<Body>),
    /// The node went away before anything was sent.
    GoneBefore,
    /// The node went away before it answered.
    Gone,
    /// Nobody took the call.
    NoConnection(String),
    /// Too much is under way to the node: nothing was sent.
    Full(String),
    /// It never left, or the node did not look at it.
    NotSent(String),
    /// It was sent, and the connection broke.
    Silent(String),
}

impl<N: Runtime> Attempt<'_, N> {
    /// Sends the request.
    pub(crate) async fn run(self) -> AttemptOutcome {
        let Self { pool, to, request, mut gone, last_word } = self;
        // Nothing is sent before there is a connection with room.
        let placing = async {
            gone.as_mut().await;
            None
        };
        let place = match future::or(placing, async { Some(pool.place(&to).await) }).await {
            None => return AttemptOutcome::GoneBefore,
            Some(Ok(place)) => place,
            Some(Err(error)) => return error.into(),
        };
        let mut sending = Box::pin(Pool::<N>::exchange_at(place, request));
        let ending = async {
            gone.as_mut().await;
            None
        };
        let Some(ended) = future::or(async { Some(sending.as_mut().await) }, ending).await else {
            let late = if last_word.is_zero() { None } else { within::<N, _>(last_word, sending).await };
            return match late.and_then(Result::ok).filter(says_not_run) {
                Some(response) => AttemptOutcome::NotRun(response.map(Body::new)),
                None => {
                    pool.forget(to.address);
                    AttemptOutcome::Gone
                }
            };
        };
        match ended {
            Ok(response) if says_not_run(&response) => AttemptOutcome::NotRun(response.map(Body::new)),
            Ok(response) => AttemptOutcome::Answered(response.map(|body| Body::new(HopBody::new(body, gone)))),
            Err(error) => error.into(),
        }
    }
}

impl From<SendError> for AttemptOutcome {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NoConnection(why) => Self::NoConnection(why),
            SendError::Untrusted(_) | SendError::Unwelcome(_) => Self::NoConnection(error.to_string()),
            SendError::Full(_) => Self::Full(error.to_string()),
            SendError::NotSent(why) => Self::NotSent(why),
            SendError::Sent(why) => Self::Silent(why),
        }
    }
}

fn says_not_run<B>(response: &Response<B>) -> bool {
    response.headers().contains_key(reply::NOT_OWNER) || response.headers().contains_key(reply::NOT_RUN)
}

/// A request like the one with these `parts`, for `address`.
pub(crate) fn request_to(address: SocketAddr, parts: &Parts, body: Body) -> Request<Body> {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri: Uri = format!("http://{address}{path}").parse().expect("an address and a parsed path make a URI");
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    let mut headers = parts.headers.clone();
    headers.remove(header::HOST);
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    *request.headers_mut() = headers;
    request
}
