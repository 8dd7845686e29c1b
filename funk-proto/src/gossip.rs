//! Who is there: a full member of a Serf cluster, without its sockets and clock.
//!
//! A node joins by a push/pull with any member: both sides hand over all they
//! know, and merge. From then on gossip keeps them alike: each member probes
//! another every second, suspects who does not answer, and tells a few others
//! what is new; they tell others. A push/pull with a random member now and then
//! mends what gossip lost.
//!
//! What gossip finds is shown and passed on, and decides nothing: who is up is
//! the cluster's decision and comes in through [`Gossip::set_status`].
//! User events and queries are passed on, kept and answered, but not handed to
//! anybody.
//!
//! | file | idea |
//! |---|---|
//! | `interface` | what goes in at the start and what comes out |
//! | `timing` | intervals, and how they grow with the cluster |
//! | `table`, `member`, `members` | the members |
//! | `rules` | what is heard of a node's life, and what follows |
//! | `holder` | whether another live node has this node's name |
//! | `suspicion`, `health` | how long a silent node has, and how far this node trusts itself |
//! | `statuses`, `intents`, `lamport` | Serf's joins and leaves, and the clock that orders them |
//! | `news` | what follows from something heard |
//! | `probing`, `probe` | the probe cycle |
//! | `gossip`, `broadcast` | rounds of gossip, and the queues behind them |
//! | `merging` | push/pulls piece by piece |
//! | `sealing` | encryption with the keys of the pool |
//! | `key_queries` | Serf's queries by which the keys are changed and listed |
//! | `key_asks` | the same, put to all members by this node |
//! | `ring_watch` | whether this node has the key that the cluster uses |
//! | `leaving` | this node's own leave |
//! | `exchange`, `targets` | streams, join addresses and their back-off |
//! | `serf`, `recent`, `filters` | Serf's own messages, each passed on once, and whom a query is for |
//! | `coordinates` | network coordinates |
//! | `fit` | which tags are gossiped if not all fit |
//! | `shown` | what the rest of the node sees of it |

mod broadcast;
mod claim;
mod coordinates;
mod exchange;
mod filters;
mod fit;
mod health;
mod holder;
mod intents;
mod interface;
mod key_asks;
mod key_queries;
mod lamport;
mod leaving;
mod lives;
mod member;
mod members;
mod merging;
mod news;
mod probe;
mod probing;
mod recent;
mod ring_watch;
mod rounds;
mod rules;
mod sealing;
mod serf;
mod shown;
mod statuses;
mod suspicion;
mod table;
mod targets;
#[cfg(test)]
mod tests;
mod timing;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::error::Misbehaviour;
use crate::id::{ConnId, DialNumbers, NodeName};
use crate::io::{CloseReason, RefusedPeer};
use crate::rng::{Rng, Seed, Stream};
use crate::status::{GossipCounters, GossipStatus};
use crate::time::{Timestamp, earliest};
use crate::wire::gossip::{BadMessage, Packet, VERSIONS};

use broadcast::Broadcasts;
use claim::Claim;
use coordinates::Coordinates;
use filters::Filters;
use health::Health;
use holder::Holder;
use member::Member;
use merging::Merging;
use news::News;
use probe::{Prober, RelayEnd};
use recent::Recent;
use sealing::Sealing;
use table::Table;
use targets::Targets;

pub use crate::wire::gossip::GossipMember;
pub use interface::{GossipConfig, GossipOutput};
pub use lives::GossipLife;
pub use timing::GossipTiming;

/// What a stream dialled by this machine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Joining through a join address.
    Join,
    /// The repeated exchange with a member.
    Sync,
    /// Trying to reach a member that failed.
    Reconnect,
    /// Telling a member that this node leaves.
    Leave,
    /// The ping of this number, beside those by datagram.
    Ping(u32),
}

#[derive(Clone, Copy, Debug)]
struct Exchange {
    to: SocketAddr,
    purpose: Purpose,
    deadline: Timestamp,
}

/// Whom a message of a stream came from, or goes to.
#[derive(Clone, Copy, Debug)]
enum Side {
    /// On an accepted stream.
    Accepted(ConnId),
    /// The answer to what this node sent.
    Answer(Exchange),
    /// This node begins.
    Dialled(ConnId),
}

/// The membership machine.
#[derive(Debug)]
pub struct Gossip {
    table: Table,
    timing: GossipTiming,
    /// This node's tags, those that do not fit too.
    tags: BTreeMap<String, String>,
    tags_dropped: Vec<String>,
    targets: Targets,
    /// A push/pull through a join address was complete once.
    joined: bool,
    /// Join addresses are only looked at: this node shows itself to nobody yet.
    looks: bool,
    exchanges: BTreeMap<ConnId, Exchange>,
    prober: Prober,
    /// Whoever else is presented by this node's name is asked whether it lives.
    holder: Option<Holder>,
    health: Health,
    coordinates: Coordinates,
    broadcasts: Broadcasts,
    last_round: Option<Timestamp>,
    recent_events: Recent,
    recent_queries: Recent,
    filters: Filters,
    next_sync: Timestamp,
    next_reap: Timestamp,
    next_reconnect: Timestamp,
    merging: Merging,
    sealing: Sealing,
    now: Timestamp,
    outputs: VecDeque<GossipOutput>,
    changes: u64,
    dials: DialNumbers,
    rng: Rng,
    counters: GossipCounters,
}

impl Gossip {
    /// Members of every cluster name are taken in from now on.
    pub fn welcome_every_cluster(&mut self) {
        self.table.cluster = None;
    }

    /// A node that knows itself, and dials its join addresses at once.
    pub fn new(config: GossipConfig, dials: DialNumbers, seed: Seed, now: Timestamp) -> Self {
        let fitted = fit::fit(&config.tags);
        let own = Claim {
            name: Bytes::copy_from_slice(config.name.as_str().as_bytes()),
            addr: config.addr,
            tags: fitted.tags,
            incarnation: 1,
            meta: fitted.meta,
            versions: VERSIONS,
        };
        let me = own.into_member(now);
        let timing = config.timing;
        let mut rng = Rng::new(seed, Stream::Gossip);
        // Nodes that start together spread their timers.
        let mut stagger = |interval| now + rng.between(Duration::ZERO, interval);
        let (next_sync, first_probe) = (stagger(timing.push_pull_interval), stagger(timing.probe_interval));
        let mut machine = Self {
            table: Table::new(config.name.as_str(), config.cluster.as_str(), me, timing),
            timing,
            tags: config.tags,
            tags_dropped: Vec::new(),
            targets: Targets::default(),
            joined: false,
            looks: config.looks,
            exchanges: BTreeMap::new(),
            prober: Prober::new(first_probe, &mut rng),
            holder: None,
            health: Health::new(timing.awareness_max),
            coordinates: Coordinates::new(),
            broadcasts: Broadcasts::default(),
            last_round: None,
            recent_events: Recent::new(),
            recent_queries: Recent::new(),
            filters: Filters::new(now),
            next_sync,
            next_reap: now + timing.reap_interval,
            next_reconnect: now + timing.reconnect_interval,
            merging: Merging::new(now),
            sealing: Sealing::new(config.keys, seed),
            now,
            changes: 0,
            outputs: VecDeque::new(),
            dials,
            rng,
            counters: GossipCounters::default(),
        };
        machine.report_dropped_tags(fitted.dropped);
        machine.tell_of_myself();
        machine.join(now, config.join);
        machine.targets.pin();
        machine
    }

    /// Takes one whole message of a gossip stream. After an error the stream
    /// is closed and nothing else changed. Of a long push/pull only a part is
    /// done at once; an error in what is left is counted.
    #[allow(clippy::needless_pass_by_value, reason = "inputs are handed over")]
    pub fn handle_message(&mut self, now: Timestamp, conn: ConnId, bytes: Bytes) -> Result<(), Misbehaviour> {
        self.now = now;
        let side = if conn.is_accepted() {
            Side::Accepted(conn)
        } else {
            // An answer that comes after its exchange was given up finds nothing.
            let Some(exchange) = self.exchanges.remove(&conn) else { return Ok(()) };
            self.outputs.push_back(GossipOutput::Close { conn });
            Side::Answer(exchange)
        };
        self.take_message(now, side, &bytes).map_err(Misbehaviour::from)
    }

    /// A gossip stream ended.
    pub fn handle_closed(&mut self, now: Timestamp, conn: ConnId, why: CloseReason) {
        self.now = now;
        let Some(exchange) = self.exchanges.remove(&conn) else { return };
        if let (Purpose::Ping(sequence), CloseReason::Refused) = (exchange.purpose, why) {
            self.handle_stream_refused(sequence);
        }
        self.failed(now, exchange, exchange::close_reason(why).into());
    }

    /// Takes a gossip datagram. What cannot be read of it is counted and dropped.
    pub fn handle_datagram(&mut self, now: Timestamp, from: SocketAddr, bytes: &Bytes) {
        self.now = now;
        self.counters.datagrams_received += 1;
        let unpacked = match self.sealing.unpack(bytes) {
            Ok(unpacked) => unpacked,
            Err(why) => return self.count_refused(RefusedPeer::Address(from), why),
        };
        for bad in unpacked.bad {
            self.count_bad(bad);
        }
        for packet in unpacked.packets {
            self.handle_packet(now, from, packet);
        }
    }

    fn handle_packet(&mut self, now: Timestamp, from: SocketAddr, packet: Packet) {
        match packet {
            Packet::Ping { sequence, node, source, .. } => self.handle_ping(source.unwrap_or(from), sequence, &node),
            Packet::IndirectPing { sequence, target, node, nack, source, .. } => {
                let end = RelayEnd { asker: source.unwrap_or(from), sequence };
                self.handle_indirect_ping(now, end, self.with_port(target), node, nack);
            }
            Packet::Ack { sequence, payload } => self.handle_ack(now, sequence, &payload),
            Packet::Nack { sequence } => self.handle_nack(sequence),
            Packet::Suspect(accusation) => self.with_news(|table, news| table.hear_suspect(now, &accusation, news)),
            Packet::Dead(accusation) => self.with_news(|table, news| table.hear_dead(now, &accusation, news)),
            Packet::Alive(alive) => match Claim::of_alive(&alive, self.table.myself().addr.port()) {
                Some(claim) => self.with_news(|table, news| table.hear_alive(now, claim, news)),
                None => self.counters.unusable += 1,
            },
            Packet::User(message) => self.handle_serf(now, &message),
        }
    }

    /// Old agents name no port: they mean their own, which is the cluster's.
    fn with_port(&self, mut address: SocketAddr) -> SocketAddr {
        if address.port() == 0 {
            address.set_port(self.table.myself().addr.port());
        }
        address
    }

    /// This process did not run for `gap`, and so heard nobody in that time.
    pub fn handle_clock_gap(&mut self, now: Timestamp, gap: Duration) {
        self.now = now;
        self.forgive(now, gap);
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.now = now;
        self.handle_merging_timeout(now);
        let late: Vec<_> =
            self.exchanges.iter().filter(|(_, exchange)| exchange.deadline <= now).map(|(conn, _)| *conn).collect();
        for conn in late {
            self.outputs.push_back(GossipOutput::Close { conn });
            self.handle_closed(now, conn, CloseReason::TimedOut);
        }
        self.dial_targets(now);
        if !self.looks {
            self.handle_probe_timeout(now);
        }
        self.with_news(|table, news| table.end_suspicions(now, news));
        self.handle_asks_timeout(now);
        self.handle_ring_timeout(now);
        if self.next_sync <= now {
            self.sync(now);
        }
        if self.next_reap <= now {
            self.next_reap = now + self.timing.reap_interval;
            for name in self.table.reap(now) {
                self.coordinates.forget(&name);
                self.changed(&name);
            }
        }
        if self.next_reconnect <= now {
            self.reconnect(now);
        }
        if self.next_round().is_some_and(|due| due <= now) {
            self.gossip(now);
        }
    }

    /// When to call [`Gossip::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let due = [
            self.merging.next_due(),
            self.exchanges.values().map(|exchange| exchange.deadline).min(),
            if self.table.leaving { None } else { self.targets.next_due(self.is_alone()) },
            self.prober.next_due().filter(|_| !self.looks),
            self.table.suspicions.next_due(),
            self.sealing.asks.next_due(),
            self.sealing.watch.next_due(),
            self.next_round(),
            Some(self.next_sync.min(self.next_reap).min(self.next_reconnect)),
        ];
        due.into_iter().fold(None, earliest)
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<GossipOutput> {
        self.outputs.pop_front()
    }

    /// Sets or removes (`None`) one of this node's own tags.
    pub fn set_tag(&mut self, now: Timestamp, name: impl Into<String>, value: Option<String>) {
        self.now = now;
        let name = name.into();
        match value {
            Some(value) => self.tags.insert(name, value),
            None => self.tags.remove(&name),
        };
        let fitted = fit::fit(&self.tags);
        self.report_dropped_tags(fitted.dropped);
        let leaving = self.table.leaving;
        let mut me = self.table.me();
        if me.meta == fitted.meta || leaving {
            return;
        }
        me.meta = fitted.meta;
        me.tags = fitted.tags;
        me.incarnation = me.incarnation.saturating_add(1);
        drop(me);
        self.changed(&self.table.own.clone());
        self.tell_of_myself();
    }

    fn tell_of_myself(&mut self) {
        let own = self.table.own.clone();
        self.with_news(|table, news| news.tell(&own, &table.own_alive(), true));
    }

    /// Sets what a member's status shows, by the cluster's verdict. It holds
    /// until the member itself says otherwise with a newer incarnation.
    pub fn set_status(&mut self, name: &NodeName, status: GossipStatus) {
        let (now, name) = (self.now, Bytes::copy_from_slice(name.as_str().as_bytes()));
        self.with_news(|table, news| table.verdict(now, &name, status, news));
        if status == GossipStatus::Alive {
            self.reach_for(now, &name);
        }
    }

    /// Whether this machine dialled the stream and waits for its answer.
    /// Accepted streams are answered at once and belong to nobody.
    pub fn owns(&self, conn: ConnId) -> bool {
        self.exchanges.contains_key(&conn)
    }

    /// Lets the rules change the table, and does what follows.
    fn with_news<T>(&mut self, change: impl FnOnce(&mut Table, &mut News) -> T) -> T {
        let mut news = News::default();
        let result = change(&mut self.table, &mut news);
        self.spread(news);
        result
    }

    fn spread(&mut self, news: News) {
        for message in news.broadcasts {
            self.broadcasts.push(message);
        }
        for (to, packet) in news.answers {
            self.send(to, &packet);
        }
        for name in news.newcomers {
            self.coordinates.forget(&name);
            self.prober.insert(&mut self.rng, name);
        }
        for name in &news.changed {
            self.changed(name);
        }
        self.outputs.extend(news.namesakes.into_iter().map(GossipOutput::Namesake));
        if news.refuted > 0 {
            self.health.worse(news.refuted);
        }
        if news.name_taken && !self.table.leaving {
            self.sync_again();
        }
        if let Some((at, tags)) = news.holder {
            self.ask_holder(at, tags);
        }
        let counters = &mut self.counters;
        counters.refuted += u64::from(news.refuted);
        counters.suspected += news.suspected;
        counters.died += news.died;
        counters.unusable += news.unusable;
        counters.no_room += news.no_room;
        counters.conflicts += news.conflicts;
        let before = counters.vetoed;
        counters.vetoed += news.vetoed;
        if before.leading_zeros() != counters.vetoed.leading_zeros() {
            let vetoed = counters.vetoed;
            tracing::warn!(vetoed, "nodes of a cluster of another name gossip with this one: they are turned away");
        }
    }

    fn count_bad(&mut self, bad: BadMessage) {
        match bad {
            BadMessage::Oversized(_) => self.counters.oversized += 1,
            BadMessage::Checksum => self.counters.checksum += 1,
            BadMessage::Malformed(_) | BadMessage::Type(_) => self.counters.malformed += 1,
        }
    }

    fn changed(&mut self, name: &Bytes) {
        self.changes += 1;
        // No node has a name that is not UTF-8.
        if let Ok(text) = std::str::from_utf8(name) {
            let reaped = || GossipOutput::Reaped(text.to_owned());
            let changed = |member: &Member| GossipOutput::Changed(member.shown(name));
            self.outputs.push_back(self.table.get(name).map_or_else(reaped, changed));
        }
    }
}
