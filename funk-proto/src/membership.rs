//! Who is there: Serf membership as far as push/pull over streams carries it.
//!
//! A node joins by a push/pull with any member: both sides hand over all they
//! know, and merge. Afterwards it repeats that with a random member now and
//! then, and soon after it learned something new. Not here yet: datagrams
//! (probes, gossip, user events, queries) and encryption. Without probes a
//! member's status changes only by what others say and by
//! [`Membership::set_status`], through which the cluster's verdict comes in.
//!
//! | file | idea |
//! |---|---|
//! | `interface` | what goes in at the start and what comes out |
//! | `table` | the members, and how a push/pull changes them |
//! | `member` | one of them |
//! | `targets` | join addresses and their back-off |
//! | `fit` | which tags are gossiped if not all fit |
//! | `lamport` | the clock that orders joins and leaves |

mod fit;
mod interface;
mod lamport;
mod member;
mod table;
mod targets;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::error::Misbehaviour;
use crate::id::{ConnId, DialNumbers, NodeName};
use crate::io::CloseReason;
use crate::limits::{GOSSIP_STREAM_TIMEOUT, GOSSIP_SYNC_INTERVAL};
use crate::rng::{Rng, Seed, Stream};
use crate::status::GossipStatus;
use crate::time::{Timestamp, earliest};
use crate::wire::gossip::{self, BadMessage, NodeState, Ping, PushPull, SerfState, VERSIONS};

use member::Member;
use table::{Merged, Table};
use targets::Targets;

pub use crate::wire::gossip::GossipMember;
pub use interface::{MembershipConfig, MembershipOutput};

/// Members that are told of a leave directly; they pass it on.
const LEAVE_TOLD: usize = 3;
/// Wait before news are passed on: long enough that the news of a moment travel together.
const NEWS_WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(1_000));
/// Wait before a wrong view of this node is set right: short, since others act by it.
const REFUTE_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(150));
/// Time for each member that may call on a newcomer, and members beyond which it grows no more.
const SPREAD_STEP: Duration = Duration::from_millis(5);
const SPREAD_MEMBERS_MAX: usize = 400;
/// Characters kept of an error that a peer sent.
const ERROR_CHARS_MAX: usize = 200;

/// What a stream dialled by this machine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Joining through a join address.
    Join,
    /// The repeated exchange with a member.
    Sync,
    /// Telling a member that this node leaves.
    Leave,
}

#[derive(Clone, Copy, Debug)]
struct Exchange {
    to: SocketAddr,
    purpose: Purpose,
    deadline: Timestamp,
}

/// The membership machine.
#[derive(Debug)]
pub struct Membership {
    table: Table,
    /// This node's tags, those that do not fit too.
    tags: BTreeMap<String, String>,
    tags_dropped: Vec<String>,
    targets: Targets,
    /// A push/pull through a join address was complete once.
    joined: bool,
    /// Join addresses are only looked at: this node shows itself to nobody yet.
    looks: bool,
    exchanges: BTreeMap<ConnId, Exchange>,
    next_sync: Timestamp,
    now: Timestamp,
    outputs: VecDeque<MembershipOutput>,
    dials: DialNumbers,
    rng: Rng,
    dropped: u64,
    vetoed: u64,
}

impl Membership {
    /// A node that knows itself, and dials its join addresses at once.
    pub fn new(config: MembershipConfig, dials: DialNumbers, seed: Seed, now: Timestamp) -> Self {
        let fitted = fit::fit(&config.tags);
        let me = Member {
            addr: config.addr,
            meta: fitted.meta,
            tags: fitted.tags,
            versions: VERSIONS,
            incarnation: 1,
            state: NodeState::Alive,
            status: GossipStatus::Alive,
            status_time: 0,
            since: now,
        };
        let mut rng = Rng::new(seed, Stream::Membership);
        let first_sync = rng.between(Duration::ZERO, GOSSIP_SYNC_INTERVAL);
        let mut machine = Self {
            table: Table::new(config.name.as_str(), config.cluster.as_str(), me),
            tags: config.tags,
            tags_dropped: Vec::new(),
            targets: Targets::default(),
            joined: false,
            looks: false,
            exchanges: BTreeMap::new(),
            next_sync: now + first_sync,
            now,
            outputs: VecDeque::new(),
            dials,
            rng,
            dropped: 0,
            vetoed: 0,
        };
        machine.report_dropped_tags(fitted.dropped);
        machine.join(now, config.join);
        machine.targets.pin();
        machine
    }

    /// Takes one whole message of a gossip stream. After an error the stream
    /// is closed and nothing else changed.
    #[allow(clippy::needless_pass_by_value, reason = "inputs are handed over")]
    pub fn handle_message(&mut self, now: Timestamp, conn: ConnId, bytes: Bytes) -> Result<(), Misbehaviour> {
        self.now = now;
        let plain = gossip::decompress(&bytes);
        let result = if conn.is_accepted() {
            let result = plain.and_then(|plain| self.serve(now, conn, &plain));
            if result.is_err() {
                self.outputs.push_back(MembershipOutput::Close { conn });
            }
            result
        } else {
            // An answer that comes after its exchange was given up finds nothing.
            let Some(exchange) = self.exchanges.remove(&conn) else { return Ok(()) };
            self.outputs.push_back(MembershipOutput::Close { conn });
            let result = plain.and_then(|plain| self.take_answer(now, exchange, &plain));
            if let Err(bad) = result {
                self.failed(now, exchange, bad.to_string());
            }
            result
        };
        result.map_err(|bad| {
            self.dropped += 1;
            match bad {
                BadMessage::Malformed(what) => Misbehaviour::Malformed(what),
                BadMessage::Oversized(what) => Misbehaviour::Oversized(what),
            }
        })
    }

    /// A gossip stream ended.
    pub fn handle_closed(&mut self, now: Timestamp, conn: ConnId, why: CloseReason) {
        self.now = now;
        let Some(exchange) = self.exchanges.remove(&conn) else { return };
        let reason = match why {
            CloseReason::Ended => "the stream ended without an answer",
            CloseReason::Reset => "the stream was reset",
            CloseReason::Refused => "nobody listens there",
            CloseReason::TimedOut => "no answer in time",
            CloseReason::Malformed => "the answer is no gossip",
            CloseReason::Overflow | CloseReason::Failed => "the connection failed",
        };
        self.failed(now, exchange, reason.into());
    }

    /// Takes a gossip datagram: counted and dropped.
    pub fn handle_datagram(&mut self, now: Timestamp, _from: SocketAddr, _bytes: &Bytes) {
        self.now = now;
        self.dropped += 1;
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.now = now;
        let late: Vec<_> =
            self.exchanges.iter().filter(|(_, exchange)| exchange.deadline <= now).map(|(conn, _)| *conn).collect();
        for conn in late {
            self.outputs.push_back(MembershipOutput::Close { conn });
            self.handle_closed(now, conn, CloseReason::TimedOut);
        }
        self.dial_targets(now);
        if self.next_sync <= now {
            self.next_sync = now + self.rng.between(GOSSIP_SYNC_INTERVAL * 9 / 10, GOSSIP_SYNC_INTERVAL * 11 / 10);
            self.table.reap(now);
            self.sync(now);
        }
    }

    /// When to call [`Membership::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let deadline = self.exchanges.values().map(|exchange| exchange.deadline).min();
        let target = if self.table.leaving() { None } else { self.targets.next_due(self.is_alone()) };
        earliest(earliest(deadline, target), Some(self.next_sync))
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<MembershipOutput> {
        self.outputs.pop_front()
    }

    /// Adds join addresses and tries them at once; a node that is among others
    /// already waits a little, so that not all of them call on a newcomer
    /// together, and tries only where no member is that it knows to be alive.
    /// Its own address is left out, and so are those over
    /// [`crate::limits::JOIN_ADDRESSES_MAX`].
    pub fn join(&mut self, now: Timestamp, addresses: Vec<SocketAddr>) {
        self.now = now;
        let own = self.table.me().addr;
        let spread = if self.is_alone() { Duration::ZERO } else { self.spread() };
        for address in addresses.into_iter().filter(|address| *address != own) {
            self.targets.add(now, address, spread, &mut self.rng);
        }
        self.dial_targets(now);
    }

    /// From now on (or until now) join addresses are only looked at: this node
    /// learns who is there and becomes no member.
    pub fn look_only(&mut self, now: Timestamp, looks: bool) {
        self.now = now;
        if std::mem::replace(&mut self.looks, looks) != looks {
            self.targets.renew(now);
            self.dial_targets(now);
        }
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
        let leaving = self.table.leaving();
        let me = self.table.me();
        if me.meta == fitted.meta || leaving {
            return;
        }
        me.meta = fitted.meta;
        me.tags = fitted.tags;
        me.incarnation = me.incarnation.saturating_add(1);
        self.changed(&self.table.own().clone());
        self.sync_within(NEWS_WAIT);
    }

    /// Tells some members that this node leaves; they tell the others. It goes
    /// on answering, as one that left.
    pub fn leave(&mut self, now: Timestamp) {
        self.now = now;
        if self.table.leaving() {
            return;
        }
        self.table.leave(now);
        self.changed(&self.table.own().clone());
        let mut others: Vec<_> = self.table.alive_others().map(|member| member.addr).collect();
        for _ in 0..LEAVE_TOLD.min(others.len()) {
            let to = others.swap_remove(self.pick(others.len()));
            self.dial(now, to, Purpose::Leave);
        }
    }

    /// Sets a member's status by the cluster's verdict. It holds until the
    /// member itself says otherwise with a newer incarnation.
    pub fn set_status(&mut self, name: &NodeName, status: GossipStatus) {
        if self.table.set_status(self.now, name.as_str().as_bytes(), status) {
            self.changed(&Bytes::copy_from_slice(name.as_str().as_bytes()));
        }
    }

    /// Whether this machine dialled the stream and waits for its answer.
    /// Accepted streams are answered at once and belong to nobody.
    pub fn owns(&self, conn: ConnId) -> bool {
        self.exchanges.contains_key(&conn)
    }

    /// All known members by name, this node among them.
    pub fn members(&self) -> impl Iterator<Item = GossipMember> + '_ {
        self.table.members().map(|(name, member)| member.shown(name))
    }

    /// Messages, records and datagrams dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Node records of other clusters seen so far.
    pub fn vetoed(&self) -> u64 {
        self.vetoed
    }

    /// Answers the one message of an accepted stream.
    fn serve(&mut self, now: Timestamp, conn: ConnId, message: &[u8]) -> Result<(), BadMessage> {
        match message.first() {
            Some(&gossip::PUSH_PULL) => {
                let (request, state) = decode(message)?;
                let bytes = self.table.push_pull(request.join).encode();
                self.outputs.push_back(MembershipOutput::Reply { conn, bytes });
                if !request.nodes.is_empty() {
                    let merged = self.table.merge(now, &request.nodes, state.as_ref());
                    self.after_merge(&merged);
                }
            }
            Some(&gossip::PING) => {
                let ping = Ping::decode(message)?;
                self.outputs.push_back(if ping.node.is_empty() || ping.node == self.table.own() {
                    MembershipOutput::Reply { conn, bytes: gossip::encode_ack(ping.sequence) }
                } else {
                    MembershipOutput::Close { conn }
                });
            }
            Some(&gossip::USER) => {
                self.dropped += 1;
                self.outputs.push_back(MembershipOutput::Close { conn });
            }
            _ => return Err(BadMessage::Malformed("a gossip request")),
        }
        Ok(())
    }

    /// Takes the answer to a push/pull that this node began.
    fn take_answer(&mut self, now: Timestamp, exchange: Exchange, message: &[u8]) -> Result<(), BadMessage> {
        if message.first() == Some(&gossip::ERROR) {
            let text: String = gossip::decode_error(message)?.chars().take(ERROR_CHARS_MAX).collect();
            self.failed(now, exchange, text);
            return Ok(());
        }
        let (answer, state) = decode(message)?;
        let merged = self.table.merge(now, &answer.nodes, state.as_ref());
        self.after_merge(&merged);
        if merged.others == 0 {
            let reason = match merged {
                Merged { vetoed: 1.., .. } => "only members of another cluster are there",
                Merged { name_taken: true, .. } => "another node has this node's name",
                _ => "no other member is known there",
            };
            self.failed(now, exchange, reason.into());
            return Ok(());
        }
        if exchange.purpose == Purpose::Join {
            self.targets.ended(now, exchange.to, true, &mut self.rng);
            if !self.joined && !self.looks && !self.table.leaving() {
                self.joined = true;
                self.table.issue_join();
                self.sync_within(NEWS_WAIT);
            }
        }
        if exchange.purpose != Purpose::Leave {
            self.outputs.push_back(MembershipOutput::Joined { address: exchange.to });
        }
        Ok(())
    }

    fn after_merge(&mut self, merged: &Merged) {
        self.dropped += merged.dropped;
        let before = self.vetoed;
        self.vetoed += merged.vetoed;
        if before.leading_zeros() != self.vetoed.leading_zeros() {
            let vetoed = self.vetoed;
            tracing::warn!(vetoed, "nodes of a cluster of another name gossip with this one: they are turned away");
        }
        for name in &merged.changed {
            self.changed(name);
        }
        if merged.refuted {
            self.sync_within(REFUTE_WAIT);
        } else if !merged.changed.is_empty() || merged.name_taken {
            self.sync_within(NEWS_WAIT);
        }
    }

    fn failed(&mut self, now: Timestamp, exchange: Exchange, reason: String) {
        match exchange.purpose {
            Purpose::Join => {
                self.targets.ended(now, exchange.to, false, &mut self.rng);
                self.outputs.push_back(MembershipOutput::JoinFailed { address: exchange.to, reason });
            }
            // Another member may answer.
            Purpose::Sync => self.sync_within((NEWS_WAIT.1, NEWS_WAIT.1 * 2)),
            Purpose::Leave => {}
        }
    }

    /// Whether all join addresses are to be tried soon: until one worked, and
    /// again when nobody else is left. A node never settles for being alone.
    fn is_alone(&self) -> bool {
        !self.joined || self.table.alive_others().next().is_none()
    }

    /// Time over which the members that hear of a newcomer spread their calls.
    fn spread(&self) -> Duration {
        let members = self.table.alive_others().take(SPREAD_MEMBERS_MAX).count();
        SPREAD_STEP * u32::try_from(members).unwrap_or(u32::MAX)
    }

    fn dial_targets(&mut self, now: Timestamp) {
        if self.table.leaving() {
            return;
        }
        let alone = self.is_alone();
        for to in self.targets.due(now, alone) {
            if !alone && self.table.alive_others().any(|member| member.addr == to) {
                self.targets.postpone(now, to, &mut self.rng);
                continue;
            }
            let conn = self.dial(now, to, Purpose::Join);
            self.targets.began(to, conn);
        }
    }

    fn sync(&mut self, now: Timestamp) {
        let busy = self.exchanges.values().any(|exchange| exchange.purpose == Purpose::Sync);
        let others: Vec<_> = self.table.alive_others().map(|member| member.addr).collect();
        if busy || others.is_empty() || self.table.leaving() {
            return;
        }
        let to = others[self.pick(others.len())];
        self.dial(now, to, Purpose::Sync);
    }

    fn sync_within(&mut self, (low, high): (Duration, Duration)) {
        self.next_sync = self.next_sync.min(self.now + self.rng.between(low, high));
    }

    fn dial(&mut self, now: Timestamp, to: SocketAddr, purpose: Purpose) -> ConnId {
        let conn = self.dials.next();
        self.exchanges.insert(conn, Exchange { to, purpose, deadline: now + GOSSIP_STREAM_TIMEOUT });
        self.outputs.push_back(MembershipOutput::Dial { conn, to });
        let bytes = match purpose {
            Purpose::Join if self.looks => gossip::look_request(),
            _ => self.table.push_pull(purpose == Purpose::Join).encode(),
        };
        self.outputs.push_back(MembershipOutput::Message { conn, bytes });
        conn
    }

    fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.rng.below(count as u64)).expect("below a count of things in memory")
    }

    fn changed(&mut self, name: &Bytes) {
        self.outputs.push_back(MembershipOutput::Changed(String::from_utf8_lossy(name).into_owned()));
    }

    fn report_dropped_tags(&mut self, dropped: Vec<String>) {
        if dropped != self.tags_dropped {
            self.tags_dropped.clone_from(&dropped);
            if !dropped.is_empty() {
                self.outputs.push_back(MembershipOutput::TagsDropped(dropped));
            }
        }
    }
}

/// A push/pull and its Serf state, both or neither.
fn decode(message: &[u8]) -> Result<(PushPull, Option<SerfState>), BadMessage> {
    let push_pull = PushPull::decode(message)?;
    let state = if push_pull.user_state.is_empty() { None } else { Some(SerfState::decode(&push_pull.user_state)?) };
    Ok((push_pull, state))
}
