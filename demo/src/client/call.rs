//! One request.

use std::time::Duration;

use funk::Runtime;
use funk::client::{Channel, Client};
use http::Uri;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};

use crate::pb::LiffRequest;
use crate::pb::demo_service_client::DemoServiceClient;
use crate::service::{LIFF, routes};

/// Time for one try.
const TRY_MAX: Duration = Duration::from_millis(500);

/// The demo service of a cluster.
pub(super) type Service<N> = DemoServiceClient<Channel<N>>;

/// A good answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) node: String,
    pub(super) shard: u32,
    pub(super) epoch: u64,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Failure {
    /// No node serves it now.
    Again(String),
    /// The answer is wrong, or the service said no.
    Wrong(String),
}

/// The demo service, called at the owner of each ID; without `retry`, once.
pub(super) fn service<N: Runtime>(client: &Client<N>, retry: bool) -> Service<N> {
    let channel = client.channel("ep.demo").routed_by(routes()).idempotent(LIFF).each_try(TRY_MAX);
    let channel = if retry { channel } else { channel.tries(1) };
    // Each try has its node's address; this is only what a URI must have.
    DemoServiceClient::with_origin(channel, Uri::from_static("http://funk"))
}

/// Asks within `left`; says too how often the request was sent.
pub(super) async fn liff<N: Runtime>(service: &Service<N>, id: i64, left: Duration) -> (u64, Result<Answer, Failure>) {
    let mut request = Request::new(LiffRequest { id });
    request.set_timeout(left.max(Duration::from_millis(1)));
    match service.clone().liff(request).await {
        Ok(response) => {
            let tries = tries(response.metadata());
            let (metadata, answer, _) = response.into_parts();
            let read = check(&metadata, answer.id, &answer.node_id, id);
            (tries, read.map_err(Failure::Wrong))
        }
        Err(status) => (tries(status.metadata()), Err(failure(&status))),
    }
}

fn tries(metadata: &MetadataMap) -> u64 {
    let tries = metadata.get("x-funk-tries").and_then(|tries| tries.to_str().ok()?.parse().ok());
    // Time ran out within a try, or before one.
    tries.unwrap_or(1)
}

fn failure(status: &Status) -> Failure {
    let why = format!("{:?} {}", status.code(), status.message());
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted => Failure::Again(why),
        _ => Failure::Wrong(why),
    }
}

fn check(metadata: &MetadataMap, answered: i64, name: &str, id: i64) -> Result<Answer, String> {
    if answered != id {
        return Err(format!("asked for {id}, got {answered}"));
    }
    let value = |name: &str| {
        let value = metadata.get(name).and_then(|value| value.to_str().ok());
        value.ok_or_else(|| format!("an answer without {name}"))
    };
    let node = value("x-funk-node")?.to_owned();
    if node != name {
        return Err(format!("{node} answered in the name of {name}"));
    }
    let shard = value("x-funk-shard")?.parse().map_err(|_| "x-funk-shard is no number")?;
    let epoch = value("x-funk-epoch")?.parse().map_err(|_| "x-funk-epoch is no number")?;
    Ok(Answer { node, shard, epoch })
}
