//! What people and scrapers see: status JSON, health, metrics and a page.

mod page;

use std::convert::Infallible;
use std::fmt;
use std::fmt::Write;
use std::task::{Context, Poll};

use bytes::Bytes;
use funk_proto::Status;
use funk_proto::id::ClusterName;
use funk_proto::status::{GossipCounters, MemberStatus, NodeState};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};
use tonic::body::Body;
use tower_service::Service;

use crate::metrics::Requests;
use crate::net::BoxFuture;
use crate::view::Observe;

/// Serves the status page, its JSON, `/healthz`, `/readyz` and `/metrics`.
#[derive(Clone)]
pub struct Console<V> {
    view: V,
    cluster: ClusterName,
    requests: Requests,
}

impl<V> fmt::Debug for Console<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

impl<V: Observe> Console<V> {
    /// Shows `view`, a node of `cluster`, and the counted `requests`.
    pub fn new(view: V, cluster: ClusterName, requests: Requests) -> Self {
        Self { view, cluster, requests }
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
        }
        match request.uri().path() {
            "/healthz" => return text(StatusCode::OK, "ok\n".into()),
            "/" => return content(StatusCode::OK, "text/html; charset=utf-8", page::PAGE.into()),
            "/api/v1/shards" => return json_answer(&self.shards()),
            "/readyz" | "/metrics" | "/api/v1/status" => {}
            _ => return text(StatusCode::NOT_FOUND, "no such page\n".into()),
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
        })
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
