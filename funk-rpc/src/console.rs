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
//! | `/api/v1/shards/summary?cells=n` | the same in at most `n` cells (16,384 at most), as runs |
//! | `/api/v1/events` | server-sent events from now on |
//! | `/sd` | the addresses of all nodes' metrics, for Prometheus' discovery by HTTP |
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

mod exposition;
mod host;
mod hub;
mod page;
mod ready;
mod sd;
mod stream;
mod summary;
mod token;
mod words;

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use funk_io::{Cluster, Runtime, Stopped};
use funk_proto::id::ClusterName;
use funk_proto::status::{MemberStatus, NodeState, PinStatus, TimingStatus};
use funk_proto::time::Timestamp;
use funk_proto::{Ownership, Status};
use funk_tls::Current;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};
use tonic::body::Body;
use tower_service::Service;

use self::exposition::Security;
use self::host::Hosts;
use self::hub::Hub;
pub use self::ready::NotReady;
use self::stream::Sleep;
pub use self::token::PageToken;
use crate::families::{self, Family};
use crate::metrics::RequestMetrics;
use crate::net::BoxFuture;
use crate::server::{ListenerCounts, Server};

/// Serves the status page, its JSON and its event stream, `/healthz`, `/readyz`, `/metrics` and `/sd`.
#[derive(Clone)]
pub struct Console {
    view: Cluster,
    cluster: ClusterName,
    requests: RequestMetrics,
    hub: Arc<Hub>,
    sleep: Sleep,
    hosts: Hosts,
    listeners: Listeners,
    tls: Option<Current>,
    is_https: bool,
    token: Option<PageToken>,
}

/// The listeners whose state is shown, by the names of their endpoints.
type Listeners = Arc<Mutex<Vec<(String, Server)>>>;

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

impl Console {
    /// Shows `view`, a node of `cluster`, and the counted `requests`. A task
    /// on `N` collects the node's events from now on and ends with the node.
    pub fn new<N: Runtime>(view: Cluster, cluster: ClusterName, requests: RequestMetrics) -> Self {
        let hub = Hub::new();
        N::spawn(Arc::clone(&hub).follow(view.name().clone(), view.events()));
        let (hosts, listeners) = (Hosts::of_this_machine(), Arc::default());
        let sleep: Sleep = |length| Box::pin(N::sleep(length));
        Self { view, cluster, requests, hub, sleep, hosts, listeners, tls: None, is_https: false, token: None }
    }

    /// Shows the state of these credentials too; `is_https` says whether the page itself is served over TLS.
    #[must_use]
    pub fn over(mut self, credentials: Option<Current>, is_https: bool) -> Self {
        (self.tls, self.is_https) = (credentials, is_https);
        self
    }

    /// Answers only those who have this token, if one is given; what asks for health is answered all the same.
    #[must_use]
    pub fn for_those_with(mut self, token: Option<PageToken>) -> Self {
        self.token = token;
        self
    }

    /// Answers to these names too. Addresses, `localhost` and the machine's name are always answered; a
    /// request for any other name is refused, since a page elsewhere on the web may have made it up to read this
    /// node through somebody's browser.
    #[must_use]
    pub fn also_named(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.hosts = self.hosts.and(names);
        self
    }

    /// Shows how full the listener `server` at the endpoint `name` is, here and in all clones: a node that turns
    /// clients away is not ready.
    pub fn watch(&self, name: &str, server: &Server) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.push((name.into(), server.clone()));
    }

    fn listeners(&self) -> Vec<(String, ListenerCounts)> {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().map(|(name, server)| (name.clone(), server.counts())).collect()
    }

    fn security(&self) -> Security<'_> {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = listeners.iter().filter_map(|(name, server)| Some((name.clone(), server.handshakes()?)));
        Security { tls: self.tls.as_ref(), handshakes: counted.collect() }
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
        }
        // Probes and scrapers have names of their own for a node, and read nothing that a stranger may not.
        let open = ["/healthz", "/readyz", "/metrics"].contains(&request.uri().path());
        if !open && !self.hosts.are_asked(&request) {
            let why = "this node does not answer to that name: ask by its address, or give it the name\n";
            return text(StatusCode::MISDIRECTED_REQUEST, why.into());
        }
        let asks_for_health = ["/healthz", "/readyz"].contains(&request.uri().path());
        if let Some(token) = self.token.as_ref().filter(|_| !asks_for_health)
            && !token.is_shown_by(request.headers())
        {
            return token::refused();
        }
        match request.uri().path() {
            "/healthz" => return text(StatusCode::OK, "ok\n".into()),
            "/api/v1/shards" => return json_answer(&self.shards()),
            "/api/v1/shards/summary" => {
                let cells = query(&request, "cells").and_then(|cells| cells.parse().ok());
                return json_answer(&summary::summary(&self.view.routes(), cells.unwrap_or(summary::CELLS_MAX)));
            }
            "/api/v1/events" => return self.events(&request),
            "/readyz" | "/metrics" | "/sd" | "/api/v1/status" => {}
            path => {
                let missing = || text(StatusCode::NOT_FOUND, "no such page\n".into());
                return page::asset(path).unwrap_or_else(missing);
            }
        }
        let Ok(status) = self.view.status().await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "the node has stopped\n".into());
        };
        match request.uri().path() {
            "/readyz" => match self.ready(&status) {
                Ok(()) => text(StatusCode::OK, "ready\n".into()),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            "/metrics" => {
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                let mut families = self.families(&status);
                families.extend(exposition::process(status.name.as_str()));
                content(StatusCode::OK, kind, families::text(&families))
            }
            "/sd" => json_answer(&sd::groups(&self.cluster, &status.members, self.is_https)),
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

    /// Whether the node may serve now, as `/readyz` answers.
    ///
    /// # Errors
    /// [`NotReady`] says why not.
    pub async fn readiness(&self) -> Result<(), NotReady> {
        let status = self.view.status().await.map_err(|_| NotReady::Stopped)?;
        self.ready(&status)
    }

    /// What the node measures now, for a registry or an exporter of your own. It is what `/metrics` shows, but for
    /// `process_*`: a program with a registry has those from elsewhere.
    ///
    /// # Errors
    /// [`Stopped`] if the node has stopped.
    pub async fn metrics(&self) -> Result<Vec<Family>, Stopped> {
        Ok(self.families(&self.view.status().await?))
    }

    fn families(&self, status: &Status) -> Vec<Family> {
        let ready = self.ready(status).is_ok();
        exposition::families(
            &self.view,
            &self.cluster,
            status,
            &self.requests,
            &self.listeners(),
            &self.security(),
            ready,
        )
    }

    fn ready(&self, status: &Status) -> Result<(), NotReady> {
        if !matches!(status.state, NodeState::Operational | NodeState::Resharding) {
            return Err(NotReady::State(status.state));
        }
        if let Some((endpoint, _)) = self.listeners().into_iter().find(|(_, counts)| counts.full) {
            return Err(NotReady::Full { endpoint });
        }
        let held = status.lease_until > self.view.now();
        if !held && status.shards_owned > 0 { Err(NotReady::NoLease) } else { Ok(()) }
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
            "may_serve": self.ready(status).is_ok(),
            "members": status.members.iter().map(member_json).collect::<Vec<_>>(),
            "funk_id": status.id.to_string(),
            "funk_boot": status.boot.to_string(),
            "funk_cluster": status.cluster.map(|id| id.to_string()),
            "funk_created_ns": status.created_ns,
            "funk_generation": status.generation,
            "funk_ownership": status.ownership.map(Ownership::word),
            "funk_uptime_ms": self.view.now().as_nanos() / 1_000_000,
            "funk_timing": status.timing.as_ref().map(timing_json),
            "funk_lease_ms": lease_ms(status.lease_until, self.view.now()),
            "funk_now_ms": hub::unix_ns() / 1_000_000,
            "funk_requests": self.requests_json(),
            "funk_worker_id": status.worker_id.map(|id| id.0),
            "funk_over_capacity": status.over_capacity,
            "funk_pins": status.pins.iter().map(pin_json).collect::<Vec<_>>(),
            "funk_page_scheme": if self.is_https { "https" } else { "http" },
            "funk_version": env!("CARGO_PKG_VERSION"),
        })
    }

    /// Requests that came in here since the start, by the node that served them.
    fn requests_json(&self) -> Value {
        let sums = self.requests.by_destination().into_iter();
        Value::Object(sums.map(|(node, count)| (node, count.into())).collect())
    }

    fn shards(&self) -> Value {
        let table = self.view.routes();
        let owner = |shard| table.owner(funk_proto::id::ShardId(shard)).map_or("", |(node, _)| node.name.as_str());
        json!({ "epoch": table.epoch().0, "owners": (0..table.shards()).map(owner).collect::<Vec<_>>() })
    }
}

fn timing_json(timing: &TimingStatus) -> Value {
    let millis = |length: Duration| length.as_micros() as f64 / 1e3;
    json!({
        "lease_ms": millis(timing.lease),
        "lease_min_ms": millis(timing.lease_min),
        "lease_max_ms": millis(timing.lease_max),
        "heartbeat_ms": millis(timing.heartbeat),
        "leader_timeout_ms": millis(timing.leader_timeout),
        "member_timeout_ms": millis(timing.member_timeout),
        "reason": timing.reason,
    })
}

/// Milliseconds that are left of a lease; 0 when it is over.
fn lease_ms(until: Timestamp, now: Timestamp) -> u64 {
    until.as_nanos().saturating_sub(now.as_nanos()) / 1_000_000
}

fn pin_json(pin: &PinStatus) -> Value {
    let (first, count) = (pin.shards.start, pin.shards.end - pin.shards.start);
    json!({ "first": first, "count": count, "node": pin.node.as_str(), "honoured": pin.honoured })
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
        "funk_drained": member.drained,
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

impl Service<Request<Body>> for Console {
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
