//! What a node measures. docs/metrics.md lists it.

mod page;
mod process;
mod security;

use std::sync::atomic::Ordering;
use std::time::Duration;

use funk_io::meters::{Meters, PHASES, STEPS, TLS_REASONS, TlsMeters};
use funk_io::{Cluster, IoCounters};
use funk_proto::id::{ClusterName, ShardId};
use funk_proto::shards::Place;
use funk_proto::status::{Counters, GossipCounters, GossipStatus, NodeState, RaftStatus, Role, TimingStatus};
use funk_proto::{Status, Timestamp};

use self::page::Page;
pub(super) use self::security::Security;
use crate::families::{Family, Kind};
use crate::metrics::{RequestMetrics, Way};
use crate::server::ListenerCounts;

/// All states of a node, each a series, so that every one can be asked for.
const STATES: [NodeState; 8] = [
    NodeState::Invalid,
    NodeState::Joining,
    NodeState::Operational,
    NodeState::Voting,
    NodeState::Resharding,
    NodeState::Starting,
    NodeState::Stopping,
    NodeState::Draining,
];

/// All parts that a node may play, likewise.
const ROLES: [Role; 5] = [Role::Unknown, Role::Follower, Role::Leader, Role::Learner, Role::NonMember];

/// The gossip states of members that are told apart.
const MEMBERS: [GossipStatus; 4] =
    [GossipStatus::Alive, GossipStatus::Leaving, GossipStatus::Left, GossipStatus::Failed];

/// All that the node measures.
pub(super) fn families(
    view: &Cluster,
    cluster: &ClusterName,
    status: &Status,
    requests: &RequestMetrics,
    listeners: &[(String, ListenerCounts)],
    security: &Security<'_>,
    may_serve: bool,
) -> Vec<Family> {
    let mut page = Page::new(status.name.as_str());
    let now = view.now();
    fixed(&mut page, status, now);
    identity(&mut page, cluster, status);
    let left = Duration::from_nanos(status.lease_until.as_nanos().saturating_sub(now.as_nanos()));
    page.gauge("funk_may_serve", "1 while the node may serve.", u8::from(may_serve));
    page.gauge("funk_lease_remaining_seconds", "What is left of the lease.", left.as_secs_f64());
    let timing =
        |of: fn(&TimingStatus) -> Duration| status.timing.as_ref().map_or(0.0, |timing| of(timing).as_secs_f64());
    page.gauge("funk_lease_seconds", "The cluster's lease; 0 before it is known.", timing(|timing| timing.lease));
    page.gauge("funk_lease_min_seconds", "The shortest that the lease may be.", timing(|timing| timing.lease_min));
    page.gauge("funk_lease_max_seconds", "The longest that the lease may be.", timing(|timing| timing.lease_max));
    state(&mut page, status);
    members(&mut page, status);
    shards(&mut page, view, status);
    counters(&mut page, &status.counters);
    gossip(&mut page, &status.counters.gossip);
    driver(&mut page, view.meters(), view.commands_queued());
    sockets(&mut page, &view.io_counters());
    self::listeners(&mut page, listeners);
    security.show(&mut page);
    served(&mut page, requests);
    page.families
}

/// What the process takes of its machine, of which the node named `node` is a part.
pub(super) fn process(node: &str) -> Vec<Family> {
    let mut page = Page::new(node);
    process::process(&mut page);
    page.families
}

/// Names that others rely on, and that do not follow Prometheus' customs. Each is measured under a name of funk's
/// own, too; `cf_cluster_requests` is in [`served`].
fn fixed(page: &mut Page<'_>, status: &Status, now: Timestamp) {
    page.gauge("cf_cluster_cluster_size", "The same as funk_members_up.", members_up(status));
    page.gauge("cf_cluster_shard_count", "The same as funk_shards_owned.", status.shards_owned);
    page.gauge("cf_cluster_log_index", "The same as funk_applied_index.", status.applied_index.0);
    page.gauge("cf_cluster_uptime", "Nanoseconds since the start.", now.as_nanos());
}

/// What the labels say; the value is 1.
fn identity(page: &mut Page<'_>, cluster: &ClusterName, status: &Status) {
    page.head("funk_build_info", Kind::Gauge, "The version of funk that the node runs.");
    page.line(&[("version", env!("CARGO_PKG_VERSION"))], 1_u8);
    page.head("funk_cluster_info", Kind::Gauge, "The cluster that the node is in, or waits for.");
    let id = status.cluster.map_or_else(String::new, |id| id.to_string());
    let generation = status.generation.to_string();
    page.line(&[("cluster", cluster.as_str()), ("id", &id), ("generation", &generation)], 1_u8);
}

fn members_up(status: &Status) -> usize {
    status.members.iter().filter(|member| member.boot.is_some()).count()
}

fn state(page: &mut Page<'_>, status: &Status) {
    page.head("funk_state", Kind::Gauge, "1 for the state that the node is in, 0 for the others.");
    for state in STATES {
        page.line(&[("state", &state.to_string())], u8::from(state == status.state));
    }
    page.head("funk_role", Kind::Gauge, "1 for the part that the node plays, 0 for the others.");
    for role in ROLES {
        page.line(&[("role", &role.to_string())], u8::from(role == status.role));
    }
    page.gauge("funk_has_leader", "1 while the node knows the leader.", u8::from(status.leader.is_some()));
    let leads = status.leader.as_ref() == Some(&status.name);
    page.gauge("funk_is_leader", "1 while the node leads.", u8::from(leads));
    page.gauge("funk_term", "Raft term.", status.term.0);
    page.gauge("funk_applied_index", "Applied index of the replicated log.", status.applied_index.0);
    page.gauge("funk_commit_index", "Highest committed index of the replicated log.", status.commit_index.0);
    page.gauge("funk_map_epoch", "Epoch of the shard map.", status.epoch.0);
    let own = status.members.iter().find(|member| member.name == status.name.as_str());
    let drained = own.is_some_and(|own| own.drained);
    page.gauge("funk_drained", "1 while the node is drained: it gets no shards until it restarts.", u8::from(drained));
}

fn shards(page: &mut Page<'_>, view: &Cluster, status: &Status) {
    page.gauge("funk_shards", "Shards of the cluster.", status.shards_total);
    page.gauge("funk_shards_owned", "Shards that this node owns.", status.shards_owned);
    let table = view.routes();
    let pending = |shard: &u32| matches!(table.place(ShardId(*shard)), Place::Pending);
    let moving = (0..table.shards()).filter(pending).count();
    page.gauge("funk_shards_moving", "Shards that nobody serves: they move, or their owner is dead.", moving);
    let help = "Shards beyond the capacity of all members.";
    page.gauge("funk_shards_over_capacity", help, status.over_capacity);
    let help = "Shards that are pinned, by whether their node may own them.";
    page.head("funk_shards_pinned", Kind::Gauge, help);
    for honoured in [true, false] {
        let pins = status.pins.iter().filter(|pin| pin.honoured == honoured);
        let count: usize = pins.map(|pin| pin.shards.len()).sum();
        page.line(&[("honoured", &honoured.to_string())], count);
    }
}

fn members(page: &mut Page<'_>, status: &Status) {
    page.head("funk_members", Kind::Gauge, "Members by their state in gossip, as this node sees them.");
    for state in MEMBERS {
        let count = status.members.iter().filter(|member| member.gossip == state).count();
        page.line(&[("status", state.as_str())], count);
    }
    page.gauge("funk_members_up", "Members that the cluster considers up.", members_up(status));
    let voters = || status.members.iter().filter(|member| member.raft == RaftStatus::Voter);
    page.gauge("funk_voters", "Voters.", voters().count());
    // Without a leader nobody is declared dead.
    let up = voters().filter(|voter| voter.boot.is_some() && (voter.reached || status.leader.is_some())).count();
    page.gauge(
        "funk_voters_up",
        "Voters that the cluster considers up, and this node reaches if there is no leader.",
        up,
    );
}

fn counters(page: &mut Page<'_>, counters: &Counters) {
    for (name, help, value) in [
        ("funk_elections_total", "Elections that this node started.", counters.elections),
        ("funk_leader_changes_total", "Leader changes seen.", counters.leader_changes),
        ("funk_heartbeats_sent_total", "Heartbeats sent as leader.", counters.heartbeats_sent),
        ("funk_heartbeats_answered_total", "Heartbeats answered.", counters.heartbeats_answered),
        ("funk_datagrams_dropped_total", "Liveness datagrams dropped.", counters.datagrams_dropped),
        ("funk_frames_dropped_total", "Cluster frames dropped.", counters.frames_dropped),
        ("funk_raft_messages_refused_total", "Raft messages refused.", counters.raft_refused),
        (
            "funk_impersonations_total",
            "Streams ended: the other side said it is another than its certificate's.",
            counters.impersonations,
        ),
        (
            "funk_members_declared_dead_total",
            "Members that this node declared dead as leader.",
            counters.members_declared_dead,
        ),
        ("funk_shards_gained_total", "Shards that this node gained.", counters.shards_gained),
        ("funk_shards_lost_total", "Shards that this node lost.", counters.shards_lost),
        ("funk_clock_gaps_total", "Times that the process did not run or the clock jumped.", counters.clock_gaps),
        ("funk_goodbyes_total", "Goodbyes of peers heard.", counters.goodbyes),
    ] {
        page.counter(name, help, value);
    }
}

/// What gossip did, and by what reason it dropped messages.
fn gossip(page: &mut Page<'_>, gossip: &GossipCounters) {
    let health = "Local health score as in memberlist: 0 healthy, 7 worst.";
    page.gauge("funk_gossip_health_score", health, gossip.health);
    page.gauge("funk_gossip_queued", "Messages that wait to be told to everybody.", gossip.queued);
    for (name, help, value) in [
        ("datagrams_received", "Gossip datagrams received.", gossip.datagrams_received),
        ("datagrams_sent", "Gossip datagrams sent.", gossip.datagrams_sent),
        ("sent_bytes", "Bytes of the gossip datagrams sent, without headers.", gossip.bytes_sent),
        ("probes", "Probes sent.", gossip.probes),
        ("probes_failed", "Probes that nobody answered.", gossip.probes_failed),
        ("probes_by_stream", "Probes answered on a stream only: datagrams get lost.", gossip.probes_by_stream),
        ("suspected", "Members that came under suspicion.", gossip.suspected),
        ("died", "Members declared dead by gossip.", gossip.died),
        ("refuted", "Accusations of this node that it answered.", gossip.refuted),
        ("push_pulls", "Complete push/pulls.", gossip.push_pulls),
        ("user_events", "User events heard.", gossip.user_events),
        ("queries", "Queries heard.", gossip.queries),
        ("key_changes", "Changes of the gossip keyring.", gossip.key_changes),
    ] {
        page.counter(format!("funk_gossip_{name}_total"), help, value);
    }
    page.head("funk_gossip_dropped_total", Kind::Counter, "Gossip dropped, by the reason.");
    for (reason, value) in [
        ("malformed", gossip.malformed),
        ("oversized", gossip.oversized),
        ("checksum", gossip.checksum),
        ("encrypted", gossip.encrypted),
        ("plaintext", gossip.plaintext),
        ("undecryptable", gossip.undecryptable),
        ("vetoed", gossip.vetoed),
        ("unusable", gossip.unusable),
        ("no_room", gossip.no_room),
        ("conflict", gossip.conflicts),
        ("unexpected", gossip.unexpected),
    ] {
        page.line(&[("reason", reason)], value);
    }
}

fn driver(page: &mut Page<'_>, meters: &Meters, queued: usize) {
    page.gauge("funk_commands_queued", "Requests of the application that the driver did not take yet.", queued);
    let name = "funk_lease_margin_seconds";
    page.head(name, Kind::Histogram, "What was left of the lease each time that it was renewed.");
    page.histogram(&[], meters.lease_margin.read());
    page.counter("funk_lease_lapses_total", "Leases that ended before they were renewed.", meters.lease_lapses.read());
    let name = "funk_driver_step_seconds";
    page.head(name, Kind::Histogram, "Steps of the driver's passes, by what was done. No heartbeat leaves meanwhile.");
    for (step, steps) in STEPS.iter().zip(&meters.steps) {
        page.histogram(&[("step", step)], steps.durations.read());
    }
    let name = "funk_driver_longest_step_seconds";
    page.head(name, Kind::Gauge, "The longest step of each kind since the start.");
    for (step, steps) in STEPS.iter().zip(&meters.steps) {
        page.line(&[("step", step)], steps.longest().as_secs_f64());
    }
    stream_tls(page, &meters.tls);
    let name = "funk_failover_seconds";
    let help =
        "Parts of failovers as this node saw them: silence, no leader, failure decided, first shards taken over.";
    page.head(name, Kind::Histogram, help);
    for (phase, histogram) in PHASES.iter().zip(&meters.failover) {
        page.histogram(&[("phase", phase)], histogram.read());
    }
    page.counter("funk_moves_started_total", "Shards that began to move.", meters.moves_started.read());
    page.counter("funk_shards_assigned_total", "Shards that got an owner.", meters.shards_assigned.read());
    let name = "funk_persist_seconds";
    page.head(
        name,
        Kind::Histogram,
        "How long a batch of records took to become stable; none without a data directory.",
    );
    page.histogram(&[], meters.persist.read());
    page.counter("funk_records_total", "Records given to the store.", meters.records.read());
    page.counter("funk_record_bytes_total", "Bytes of these records.", meters.record_bytes.read());
    page.counter("funk_snapshots_total", "Snapshots given to the store.", meters.snapshots.read());
    let bytes = meters.log_bytes.load(Ordering::Relaxed);
    page.gauge("funk_log_bytes", "Bytes of this boot's records since the latest snapshot.", bytes);
}

fn stream_tls(page: &mut Page<'_>, tls: &TlsMeters) {
    let read = tls.handshakes.read();
    page.counter("funk_stream_handshakes_total", "TLS handshakes between nodes that ended well.", read);
    let read = tls.plaintext.read();
    page.counter("funk_stream_plaintext_total", "Streams between nodes without TLS, where that is permitted.", read);
    let name = "funk_stream_refused_total";
    page.head(name, Kind::Counter, "Streams between nodes that TLS refused or ended, by reason.");
    for (reason, refused) in TLS_REASONS.iter().zip(&tls.refused) {
        page.line(&[("reason", reason)], refused.read());
    }
}

fn sockets(page: &mut Page<'_>, io: &IoCounters) {
    for (name, help, value) in [
        ("funk_driver_passes_total", "Passes of the driver's loop.", io.passes),
        ("funk_io_datagrams_received_total", "Datagrams received.", io.datagrams_received),
        ("funk_io_datagrams_sent_total", "Datagrams sent.", io.datagrams_sent),
        ("funk_io_datagrams_unsent_total", "Datagrams that the system did not take.", io.datagrams_unsent),
        ("funk_io_streams_accepted_total", "Streams accepted.", io.streams_accepted),
        ("funk_io_streams_refused_total", "Streams dropped: too many were open.", io.streams_refused),
        ("funk_io_streams_malformed_total", "Streams closed: their bytes made no messages.", io.streams_malformed),
        ("funk_io_streams_overflowed_total", "Streams closed: their queue was full.", io.streams_overflowed),
    ] {
        page.counter(name, help, value);
    }
}

fn listeners(page: &mut Page<'_>, listeners: &[(String, ListenerCounts)]) {
    type Read = fn(&ListenerCounts) -> u64;
    let series: [(&str, Kind, &'static str, Read); 4] = [
        ("funk_http_connections", Kind::Gauge, "Open connections of a listener.", |it| {
            u64::try_from(it.open).unwrap_or(u64::MAX)
        }),
        ("funk_http_made_way_total", Kind::Counter, "Idle connections closed for others.", |it| it.made_way),
        ("funk_http_refused_total", Kind::Counter, "Connections turned away.", |it| it.refused),
        ("funk_http_full", Kind::Gauge, "1 while a listener turns clients away.", |it| u64::from(it.full)),
    ];
    for (name, kind, help, read) in series {
        page.head(name, kind, help);
        for (listener, counts) in listeners {
            page.line(&[("listener", listener)], read(counts));
        }
    }
}

fn served(page: &mut Page<'_>, requests: &RequestMetrics) {
    let served = requests.served();
    let help = "Requests that came in here, by the node that served them.";
    for (name, help) in [("cf_cluster_requests", "The same as funk_requests_total."), ("funk_requests_total", help)] {
        page.head(name, Kind::Counter, help);
        for (destination, method, count) in &served {
            page.line(&[("destination", destination), ("method", method)], *count);
        }
    }
    let name = "funk_request_duration_seconds";
    page.head(name, Kind::Histogram, "Requests by their way, until their answer began.");
    for way in Way::ALL {
        page.histogram(&[("way", way.as_str())], requests.way(way));
    }
    page.counter("funk_requests_queued_total", "Requests that had to wait for an owner.", requests.waited());
    let (waiting, bytes) = requests.waiting();
    page.gauge("funk_requests_waiting", "Requests that wait for an owner.", waiting);
    page.gauge("funk_requests_waiting_bytes", "Bytes of these requests.", bytes);
}
