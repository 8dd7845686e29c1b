//! What people and scrapers see: a page, status JSON, the event stream, health
//! and metrics.
//!
//! | path | answer |
//! |---|---|
//! | `/` | the status page; its parts are below `/page/` |
//! | `/healthz` | 200 while the process lives |
//! | `/readyz` | 200 while the node may serve, else 503 and the reason |
//! | `/metrics` | Prometheus' text format |
//! | `/api/v1/status` | the node, its leader, the members |
//! | `/api/v1/shards` | the owner of each shard, in shard order |
//! | `/api/v1/shards/picture?cells=n` | the same in at most `n` cells (16,384 at most), as runs |
//! | `/api/v1/events` | server-sent events from now on |
//!
//! # The event stream
//!
//! Each message is one JSON object with `at_ns` (Unix time when this node saw
//! it) and `kind`:
//!
//! | `kind` | further fields |
//! |---|---|
//! | `member_joined`, `member_left`, `member_failed` | `node` |
//! | `leader` | `leader` (empty while there is none), `term` |
//! | `state` | `node` (this one), `state` |
//! | `map` | `epoch` of the new map |
//! | `moving` | `epoch`, `from`, `to`, `shards` (how many) |
//! | `owned` | `epoch`, `owner`, `shards` (how many), `ranges` (`[[first, last], ...]`, left out when there are more than 64) |
//!
//! Messages have ids. A client that comes back with the header `Last-Event-ID`
//! (or the query `since=<id>`) gets what it missed, as far as it is kept, and
//! one that asks with an empty `since=` gets all that is kept. An event named
//! `resync` with `{"missed": n}` (or `null`, after a restart of the node) says
//! that events are lost and the state should be fetched anew. Comments fill
//! silence, and the stream ends when the node stops. Every client costs a few
//! bytes, however slow it is; past the bound on clients the answer is 503.

mod hub;
mod page;
mod picture;
mod stream;
mod words;

use std::convert::Infallible;
use std::fmt;
use std::fmt::Write;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use funk_proto::Status;
use funk_proto::id::ClusterName;
use funk_proto::status::{GossipCounters, MemberStatus, NodeState};
use funk_proto::time::Timestamp;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};
use tonic::body::Body;
use tower_service::Service;

use self::hub::Hub;
use self::stream::Sleep;
use crate::metrics::Requests;
use crate::net::{BoxFuture, Net};
use crate::view::Observe;

/// Serves the status page, its JSON and its event stream, `/healthz`, `/readyz` and `/metrics`.
#[derive(Clone)]
pub struct Console<V> {
    view: V,
    cluster: ClusterName,
    requests: Requests,
    hub: Arc<Hub>,
    sleep: Sleep,
}

impl<V> fmt::Debug for Console<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

impl<V: Observe> Console<V> {
    /// Shows `view`, a node of `cluster`, and the counted `requests`. A task
    /// on `N` collects the node's events from now on and ends with the node.
    pub fn new<N: Net>(view: V, cluster: ClusterName, requests: Requests) -> Self {
        let hub = Hub::new();
        N::spawn(Arc::clone(&hub).follow(view.name().clone(), view.events()));
        Self { view, cluster, requests, hub, sleep: |length| Box::pin(N::sleep(length)) }
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
        }
        match request.uri().path() {
            "/healthz" => return text(StatusCode::OK, "ok\n".into()),
            "/api/v1/shards" => return json_answer(&self.shards()),
            "/api/v1/shards/picture" => {
                let cells = query(&request, "cells").and_then(|cells| cells.parse().ok());
                return json_answer(&picture::picture(&self.view.routes(), cells.unwrap_or(picture::CELLS_MAX)));
            }
            "/api/v1/events" => return self.events(&request),
            "/readyz" | "/metrics" | "/api/v1/status" => {}
            path => {
                let missing = || text(StatusCode::NOT_FOUND, "no such page\n".into());
                return page::asset(path).unwrap_or_else(missing);
            }
        }
        let Some(status) = self.view.status().await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "the node has stopped\n".into());
        };
        match request.uri().path() {
            "/readyz" => match self.not_ready(&status) {
                None => text(StatusCode::OK, "ready\n".into()),
                Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            "/metrics" => {
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                content(StatusCode::OK, kind, self.metrics(&status))
            }
            _ => json_answer(&self.status_json(&status)),
        }
    }

    fn events(&self, request: &Request<Body>) -> Response<Body> {
        let header = request.headers().get("last-event-id").and_then(|value| value.to_str().ok());
        match self.hub.client(header.or_else(|| query(request, "since"))) {
            Some(client) => stream::respond(client, self.sleep),
            None => {
                let mut busy = text(StatusCode::SERVICE_UNAVAILABLE, "too many clients of the event stream\n".into());
                busy.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
                busy
            }
        }
    }

    fn not_ready(&self, status: &Status) -> Option<String> {
        if !matches!(status.state, NodeState::Operational | NodeState::Resharding) {
            return Some(format!("the node is {}", status.state));
        }
        let held = status.lease_until > self.view.now();
        (!held && status.shards_owned > 0).then(|| "the node holds no lease".into())
    }

    fn status_json(&self, status: &Status) -> Value {
        json!({
            "node_id": status.name.as_str(),
            "cluster": self.cluster.as_str(),
            "state": status.state.to_string(),
            "role": status.role.to_string(),
            "leader": status.leader.as_ref().map_or("", |name| name.as_str()),
            "term": status.term.0,
            "commit_index": status.commit_index.0,
            "applied_index": status.applied_index.0,
            "epoch": status.epoch.0,
            "shards_total": status.shards_total,
            "shards_owned": status.shards_owned,
            "may_serve": self.not_ready(status).is_none(),
            "members": status.members.iter().map(member_json).collect::<Vec<_>>(),
            "funk_id": status.id.to_string(),
            "funk_boot": status.boot.to_string(),
            "funk_cluster": status.cluster.map(|id| id.to_string()),
            "funk_created_ns": status.created_ns,
            "funk_uptime_ms": self.view.now().as_nanos() / 1_000_000,
            "funk_lease_ms": lease_ms(status.lease_until, self.view.now()),
            "funk_now_ms": hub::unix_ns() / 1_000_000,
            "funk_requests": self.requests_json(),
            "funk_version": env!("CARGO_PKG_VERSION"),
        })
    }

    /// Requests that came in here since the start, by the node that served them.
    fn requests_json(&self) -> Value {
        let sums = self.requests.by_destination().into_iter();
        Value::Object(sums.map(|(node, count)| (node.to_string(), count.into())).collect())
    }

    fn shards(&self) -> Value {
        let table = self.view.routes();
        let owner = |shard| table.owner(funk_proto::id::ShardId(shard)).map_or("", |(node, _)| node.name.as_str());
        json!({ "epoch": table.epoch().0, "owners": (0..table.shards()).map(owner).collect::<Vec<_>>() })
    }

    fn metrics(&self, status: &Status) -> String {
        let node = &status.name;
        let mut out = String::with_capacity(8_192);
        let mut gauge = |name: &str, help: &str, kind: &str, value: u64| {
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{{node=\"{node}\"}} {value}\n");
        };
        let members = status.members.iter().filter(|member| member.boot.is_some()).count();
        gauge("cf_cluster_cluster_size", "Members that are up.", "gauge", members as u64);
        gauge("cf_cluster_shard_count", "Shards that this node owns.", "gauge", status.shards_owned.into());
        gauge("cf_cluster_log_index", "Applied index of the replicated log.", "gauge", status.applied_index.0);
        gauge("cf_cluster_uptime", "Nanoseconds since the start.", "gauge", self.view.now().as_nanos());
        let ready = u64::from(self.not_ready(status).is_none());
        gauge("funk_may_serve", "1 while the node may serve.", "gauge", ready);
        gauge("funk_term", "Raft term.", "gauge", status.term.0);
        gauge("funk_map_epoch", "Epoch of the shard map.", "gauge", status.epoch.0);
        gauge("funk_shards_total", "Shards of the cluster.", "gauge", status.shards_total.into());
        let counters = &status.counters;
        for (name, help, value) in [
            ("funk_elections_total", "Elections started.", counters.elections),
            ("funk_leader_changes_total", "Leader changes seen.", counters.leader_changes),
            ("funk_heartbeats_sent_total", "Heartbeats sent as leader.", counters.heartbeats_sent),
            ("funk_heartbeats_answered_total", "Heartbeats answered.", counters.heartbeats_answered),
            ("funk_datagrams_dropped_total", "Liveness datagrams dropped.", counters.datagrams_dropped),
            ("funk_frames_dropped_total", "Cluster frames dropped.", counters.frames_dropped),
            ("funk_raft_refused_total", "Raft messages refused.", counters.raft_refused),
            ("funk_gossip_dropped_total", "Gossip messages dropped.", counters.gossip_dropped),
            ("funk_members_declared_dead_total", "Members declared dead.", counters.members_declared_dead),
            ("funk_shards_gained_total", "Shards gained.", counters.shards_gained),
            ("funk_shards_lost_total", "Shards lost.", counters.shards_lost),
            ("funk_clock_gaps_total", "Clock gaps seen.", counters.clock_gaps),
            ("funk_goodbyes_total", "Goodbyes of peers heard.", counters.goodbyes),
        ] {
            gauge(name, help, "counter", value);
        }
        gossip_metrics(&counters.gossip, &mut gauge);
        self.requests.write(node, &mut out);
        out
    }
}

/// What gossip did, and by what reason it dropped messages.
fn gossip_metrics(gossip: &GossipCounters, write: &mut impl FnMut(&str, &str, &str, u64)) {
    let health = "How far the node distrusts its own view of others, 0 (healthy) to 7.";
    write("funk_gossip_health", health, "gauge", gossip.health.into());
    write("funk_gossip_queued", "Messages that wait to be told to everybody.", "gauge", gossip.queued.into());
    for (name, help, value) in [
        ("datagrams_received", "Gossip datagrams received.", gossip.datagrams_received),
        ("datagrams_sent", "Gossip datagrams sent.", gossip.datagrams_sent),
        ("bytes_sent", "Bytes of the gossip datagrams sent.", gossip.bytes_sent),
        ("probes", "Probes sent.", gossip.probes),
        ("probes_failed", "Probes that nobody answered.", gossip.probes_failed),
        ("probes_by_stream", "Probes answered on a stream only: datagrams get lost.", gossip.probes_by_stream),
        ("suspected", "Members that came under suspicion.", gossip.suspected),
        ("died", "Members declared dead by gossip.", gossip.died),
        ("refuted", "Accusations of this node that it answered.", gossip.refuted),
        ("push_pulls", "Complete push/pulls.", gossip.push_pulls),
        ("user_events", "User events heard.", gossip.user_events),
        ("queries", "Queries heard.", gossip.queries),
        ("dropped_malformed", "Gossip dropped: does not decode.", gossip.malformed),
        ("dropped_oversized", "Gossip dropped: over a limit.", gossip.oversized),
        ("dropped_checksum", "Gossip dropped: wrong checksum.", gossip.checksum),
        ("dropped_vetoed", "Gossip dropped: nodes of another cluster.", gossip.vetoed),
        ("dropped_unusable", "Gossip dropped: decodes, but cannot be used.", gossip.unusable),
        ("dropped_no_room", "Gossip dropped: a table or queue is full.", gossip.no_room),
        ("dropped_conflicts", "Gossip dropped: a live member's name at another address.", gossip.conflicts),
        ("dropped_unexpected", "Gossip dropped: nothing here waits for it.", gossip.unexpected),
    ] {
        write(&format!("funk_gossip_{name}_total"), help, "counter", value);
    }
}

/// Milliseconds that are left of a lease; 0 when it is over.
fn lease_ms(until: Timestamp, now: Timestamp) -> u64 {
    until.as_nanos().saturating_sub(now.as_nanos()) / 1_000_000
}

fn member_json(member: &MemberStatus) -> Value {
    let endpoints: serde_json::Map<String, Value> =
        member.endpoints.iter().map(|(name, address)| (name.clone(), Value::from(address.to_string()))).collect();
    json!({
        "id": member.name.as_str(),
        "serf": member.gossip.as_str(),
        "raft": member.raft.as_str(),
        "leader": member.leader,
        "shards": member.shards,
        "endpoints": endpoints,
    })
}

/// The value of `name` in the request's query, as it stands.
fn query<'a>(request: &'a Request<Body>, name: &str) -> Option<&'a str> {
    let pairs = request.uri().query()?.split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn json_answer(value: &Value) -> Response<Body> {
    content(StatusCode::OK, "application/json", value.to_string())
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    content(status, "text/plain; charset=utf-8", text)
}

fn content(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

impl<V: Observe> Service<Request<Body>> for Console<V> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let console = self.clone();
        Box::pin(async move { Ok(console.answer(request).await) })
    }
}
