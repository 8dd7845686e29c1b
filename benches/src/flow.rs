//! Requests at a steady rate through the client library, each of them kept.
//!
//! Each is sent when it is due, whether those before it were answered or not:
//! a cluster that stands still is not spared the requests of that time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use funk_demo::pb::LiffRequest;
use funk_demo::pb::demo_service_client::DemoServiceClient;
use funk_demo::routes;
use funk_proto::id::ShardId;
use funk_rpc::client::{Channel, Client, Idempotent};
use funk_tokio::Tokio;
use http::Uri;
use tokio::task::{JoinHandle, JoinSet};
use tonic::Request;
use tonic::metadata::MetadataMap;

/// From one request's shard to the next one's: far apart, since neighbours often have one owner. A prime,
/// so that all shards have their turn.
const STRIDE: u64 = 7_919;

/// How often it is looked which requests are due.
const TICK: Duration = Duration::from_millis(1);

/// The endpoint that is called.
const ENDPOINT: &str = "ep.demo";

/// One request that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The shard that it was for.
    pub shard: ShardId,
    /// When it was sent first.
    pub began: Instant,
    /// From then to its answer.
    pub took: Duration,
    /// How often it was sent.
    pub tries: u32,
    /// Why there is no answer, or a wrong one.
    pub lost: Option<String>,
}

/// Requests on their way, until told to stop. They ask for all shards in turn.
pub struct Flow {
    end: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    task: JoinHandle<Vec<Ended>>,
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("answered", &self.answered).finish_non_exhaustive()
    }
}

impl Flow {
    /// Begins to send `rate` requests a second to a cluster of `shards` shards.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(client: &Client<Tokio>, shards: u32, rate: u32) -> Self {
        let channel = client.channel(ENDPOINT).routed_by(routes());
        // Each try has its node's address; this is only what a URI must have.
        let service = DemoServiceClient::with_origin(channel, Uri::from_static("http://funk"));
        let (end, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(send(service, shards, rate, Arc::clone(&end), Arc::clone(&answered)));
        Self { end, answered, task }
    }

    /// Requests that have ended so far.
    pub fn ended(&self) -> usize {
        self.answered.load(Ordering::Acquire)
    }

    /// Sends no more, waits for the last answer and gives all requests, in no order.
    ///
    /// # Errors
    /// When a task of it panicked.
    pub async fn stop(self) -> Result<Vec<Ended>, String> {
        self.end.store(true, Ordering::Release);
        self.task.await.map_err(|error| format!("the requests: {error}"))
    }
}

async fn send(
    service: DemoServiceClient<Channel<Tokio>>,
    shards: u32,
    rate: u32,
    end: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> Vec<Ended> {
    let (began, mut sent) = (Instant::now(), 0);
    let (mut under_way, mut ended) = (JoinSet::new(), Vec::new());
    let mut tick = tokio::time::interval(TICK);
    while !end.load(Ordering::Acquire) {
        tick.tick().await;
        let now = due(began.elapsed(), rate);
        for number in sent..now {
            let shard = number.wrapping_mul(STRIDE) % u64::from(shards.max(1));
            let shard = ShardId(u32::try_from(shard).expect("less than the shard count"));
            under_way.spawn(ask(service.clone(), shard));
        }
        sent = now;
        while let Some(request) = under_way.try_join_next() {
            ended.extend(request.ok());
            answered.fetch_add(1, Ordering::AcqRel);
        }
    }
    ended.extend(under_way.join_all().await);
    ended
}

/// How many requests are to be sent within `time`.
fn due(time: Duration, rate: u32) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).saturating_mul(rate.into()) / 1_000_000
}

async fn ask(mut service: DemoServiceClient<Channel<Tokio>>, shard: ShardId) -> Ended {
    // The demo takes the ID modulo the shard count.
    let id = i64::from(shard.0);
    let mut request = Request::new(LiffRequest { id });
    request.extensions_mut().insert(Idempotent);
    let began = Instant::now();
    let answer = service.liff(request).await;
    let took = began.elapsed();
    let (tries, lost) = match answer {
        Ok(answer) => (tries(answer.metadata()), wrong(answer.get_ref().id, id)),
        Err(status) => (tries(status.metadata()), Some(format!("{:?} {}", status.code(), status.message()))),
    };
    Ended { shard, began, took, tries, lost }
}

fn wrong(answered: i64, id: i64) -> Option<String> {
    (answered != id).then(|| format!("asked for {id}, got {answered}"))
}

fn tries(metadata: &MetadataMap) -> u32 {
    let tries = metadata.get("x-funk-tries").and_then(|tries| tries.to_str().ok()?.parse().ok());
    // Time ran out within a try, or before one.
    tries.unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_rate_is_kept_over_any_time() {
        assert_eq!(due(Duration::from_secs(3), 2_000), 6_000);
        assert_eq!(due(Duration::from_micros(1_499), 2_000), 2);
        assert_eq!(due(Duration::MAX, u32::MAX), u64::MAX / 1_000_000);
    }

    #[test]
    fn all_shards_have_their_turn() {
        for shards in [1, 6, 1_000] {
            let asked: BTreeSet<u64> = (0..shards).map(|number: u64| number.wrapping_mul(STRIDE) % shards).collect();
            assert_eq!(asked.len(), usize::try_from(shards).unwrap());
        }
    }
}
