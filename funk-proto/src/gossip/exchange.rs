//! Streams: push/pulls that this node begins or answers, pings, and the join
//! addresses.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::member::{Life, Member};
use super::news::Found;
use super::sealing::error_text;
use super::{Exchange, Gossip, GossipOutput, Purpose, Side};
use crate::id::ConnId;
use crate::limits::GOSSIP_STREAM_TIMEOUT;
use crate::status::GossipStatus;
use crate::time::Timestamp;
use crate::wire::gossip::{self, BadMessage, Packet, Ping};

/// Wait before a push/pull is tried again that failed, or that found this
/// node's name taken by a node that may be dead.
const AGAIN_WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(1_000));
/// Time for each member that may call on a newcomer, and members beyond which it grows no more.
const SPREAD_STEP: Duration = Duration::from_millis(5);
const SPREAD_MEMBERS_MAX: usize = 400;

impl Gossip {
    /// Adds join addresses and tries them at once; a node that is among others
    /// already waits a little, so that not all of them call on a newcomer
    /// together, and tries only where no member is that it knows to be alive.
    /// Its own address is left out, and so are those over
    /// [`crate::limits::JOIN_ADDRESSES_MAX`], and link-local ones of IPv6 that
    /// do not name their link.
    pub fn join(&mut self, now: Timestamp, addresses: Vec<SocketAddr>) {
        self.now = now;
        let own = self.table.myself().addr;
        let reachable = |address: &SocketAddr| !is_link_local(address);
        let addresses: Vec<SocketAddr> = addresses.into_iter().filter(reachable).collect();
        let spread = if self.is_alone() { Duration::ZERO } else { self.call_spread() };
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

    /// Whether a join address was called at and has not answered yet.
    pub fn awaits_answer(&self) -> bool {
        self.exchanges.values().any(|exchange| exchange.purpose == Purpose::Join)
    }

    /// Takes a stream message that is no push/pull.
    pub(super) fn take_short(&mut self, now: Timestamp, side: Side, message: &[u8]) -> Result<(), BadMessage> {
        match side {
            Side::Accepted(conn) => self.serve(conn, message),
            Side::Answer(exchange) => self.take_answer(now, exchange, message),
            Side::Dialled(_) => Ok(()),
        }
    }

    /// Answers the one message of an accepted stream.
    fn serve(&mut self, conn: ConnId, message: &[u8]) -> Result<(), BadMessage> {
        match message.first() {
            Some(&gossip::PING) => {
                let ping = Ping::decode(message)?;
                if ping.node.is_empty() || ping.node == self.table.own {
                    self.reply(conn, gossip::encode_ack(ping.sequence));
                } else {
                    self.outputs.push_back(GossipOutput::Close { conn });
                }
            }
            Some(&gossip::USER) => {
                self.counters.unexpected += 1;
                self.outputs.push_back(GossipOutput::Close { conn });
            }
            _ => return Err(BadMessage::Malformed("a gossip request")),
        }
        Ok(())
    }

    /// Takes the answer to what this node sent on a stream.
    fn take_answer(&mut self, now: Timestamp, exchange: Exchange, message: &[u8]) -> Result<(), BadMessage> {
        if let Purpose::Ping(sequence) = exchange.purpose {
            // Whoever could not open the ping answers with an error.
            if message.first() == Some(&gossip::ERROR) {
                self.counters.unexpected += 1;
                return Ok(());
            }
            match Packet::decode(message)? {
                Packet::Ack { sequence: echo, .. } if echo == sequence => self.handle_stream_ack(sequence),
                _ => self.counters.unexpected += 1,
            }
            return Ok(());
        }
        if message.first() != Some(&gossip::ERROR) {
            return Err(BadMessage::Malformed("a push/pull"));
        }
        let text = error_text(message)?;
        self.failed(now, exchange, text);
        Ok(())
    }

    /// The answer to a push/pull that this node began is merged.
    pub(super) fn merged(&mut self, now: Timestamp, exchange: Exchange, found: &Found) {
        if let Purpose::Ping(_) = exchange.purpose {
            self.counters.unexpected += 1;
            return;
        }
        if found.others == 0 {
            let reason = match found {
                Found { vetoed: 1.., .. } => "only members of another cluster are there",
                Found { name_taken: true, .. } => "another node has this node's name",
                _ => "no other member is known there",
            };
            self.failed(now, exchange, reason.into());
            return;
        }
        if exchange.purpose == Purpose::Join {
            self.targets.ended(now, exchange.to, true, &mut self.rng);
            if !self.joined && !self.looks && !self.table.leaving {
                self.joined = true;
                self.with_news(|table, news| table.issue_join(news));
            }
        }
        if exchange.purpose != Purpose::Leave {
            self.outputs.push_back(GossipOutput::Joined { address: exchange.to });
        }
    }

    pub(super) fn failed(&mut self, now: Timestamp, exchange: Exchange, reason: String) {
        match exchange.purpose {
            Purpose::Join => {
                self.targets.ended(now, exchange.to, false, &mut self.rng);
                self.outputs.push_back(GossipOutput::JoinFailed { address: exchange.to, reason });
            }
            // Another member may answer.
            Purpose::Sync => self.sync_again(),
            Purpose::Reconnect | Purpose::Leave | Purpose::Ping(_) => {}
        }
    }

    /// Whether all join addresses are to be tried soon: until one worked, and
    /// again when nobody else is left. A node never settles for being alone.
    pub(super) fn is_alone(&self) -> bool {
        !self.joined || !self.table.has_company()
    }

    /// Time over which the members that hear of a newcomer spread their calls.
    pub(super) fn call_spread(&self) -> Duration {
        let members = self.table.company().min(SPREAD_MEMBERS_MAX);
        SPREAD_STEP * u32::try_from(members).unwrap_or(u32::MAX)
    }

    pub(super) fn dial_targets(&mut self, now: Timestamp) {
        if self.table.leaving {
            return;
        }
        let alone = self.is_alone();
        let due = self.targets.due(now, alone);
        let members: BTreeSet<SocketAddr> = if alone || due.is_empty() {
            BTreeSet::new()
        } else {
            self.table.present_others().map(|member| member.addr).filter(|at| due.contains(at)).collect()
        };
        for to in due {
            if members.contains(&to) {
                self.targets.postpone(now, to, &mut self.rng);
                continue;
            }
            let conn = self.dial(now, to, Purpose::Join);
            self.targets.began(to, conn);
        }
    }

    /// The repeated push/pull with any member.
    pub(super) fn sync(&mut self, now: Timestamp) {
        let interval = self.timing.push_pull(self.table.nodes());
        self.next_sync = now + self.rng.between(interval * 9 / 10, interval * 11 / 10);
        self.sync_with_any(now, |_| true);
    }

    /// A push/pull with a member that shows this tag, in addition to the repeated one, which rarely picks such a member
    /// among thousands.
    pub fn sync_with(&mut self, now: Timestamp, tag: &str, value: &str) {
        self.now = now;
        self.sync_with_any(now, |member| member.tags.get(tag).is_some_and(|shown| shown == value));
    }

    fn sync_with_any(&mut self, now: Timestamp, fits: impl Fn(&Member) -> bool) {
        let busy = self.exchanges.values().any(|exchange| exchange.purpose == Purpose::Sync);
        if busy || self.looks || self.table.leaving {
            return;
        }
        let drawn = self.table.draw(&mut self.rng, 1, |_, member| member.present() && fits(member));
        if let Some(to) = drawn.first().map(|(_, member)| member.addr) {
            self.dial(now, to, Purpose::Sync);
        }
    }

    /// The push/pull comes soon, however long it was to wait.
    pub(super) fn sync_again(&mut self) {
        self.next_sync = self.next_sync.min(self.now + self.rng.between(AGAIN_WAIT.0, AGAIN_WAIT.1));
    }

    /// Tries to reach a failed member: the more have failed, the likelier it
    /// is a partition that has ended since.
    pub(super) fn reconnect(&mut self, now: Timestamp) {
        self.next_reconnect = now + self.timing.reconnect_interval;
        let failed = |member: &&Member| member.gone() && member.status == GossipStatus::Failed;
        let lost = self.table.others().map(|(_, member)| member).filter(failed).count() as u64;
        let there = self.table.company() as u64 + 1;
        if lost == 0 || self.looks || self.table.leaving || self.rng.below(there) >= lost {
            return;
        }
        let drawn = self.table.draw(&mut self.rng, 1, |_, member| failed(&member));
        if let Some(to) = drawn.first().map(|(_, member)| member.addr) {
            self.dial(now, to, Purpose::Reconnect);
        }
    }

    /// A node that knows nobody is probed by name: whoever probes knew the
    /// process before this one at the same address, and sees no difference. It
    /// would hear from there only with the next repeated push/pull.
    pub(super) fn ask_who_knows_me(&mut self, at: SocketAddr) {
        let busy = self.exchanges.values().any(|exchange| exchange.purpose == Purpose::Reconnect);
        let knows = self.table.has_company();
        if !busy && !knows && !self.looks && !self.table.leaving {
            self.dial(self.now, at, Purpose::Reconnect);
        }
    }

    /// The cluster says that this member is up, and it is held for dead here:
    /// a push/pull lets each side say what it knows.
    pub(super) fn reach_for(&mut self, now: Timestamp, name: &[u8]) {
        let gone = self.table.get(name).filter(|member| member.gone() && member.life != Life::Left);
        let busy = self.exchanges.values().any(|exchange| exchange.purpose == Purpose::Reconnect);
        if let Some(to) = gone.map(|member| member.addr).filter(|_| !busy && !self.table.leaving) {
            self.dial(now, to, Purpose::Reconnect);
        }
    }

    pub(super) fn dial(&mut self, now: Timestamp, to: SocketAddr, purpose: Purpose) -> ConnId {
        let conn = self.dials.next();
        self.exchanges.insert(conn, Exchange { to, purpose, deadline: now + GOSSIP_STREAM_TIMEOUT });
        self.outputs.push_back(GossipOutput::Dial { conn, to });
        match purpose {
            Purpose::Join if self.looks => self.tell_nothing(conn),
            _ => self.tell(now, conn, matches!(purpose, Purpose::Join | Purpose::Reconnect)),
        }
        conn
    }
}

/// Whether an address means nothing without the link that it is on, which it does not name.
fn is_link_local(address: &SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(at) if at.ip().is_unicast_link_local() && at.scope_id() == 0)
}

/// What a stream says of its end, for people.
pub(super) fn close_reason(why: crate::io::CloseReason) -> &'static str {
    use crate::io::CloseReason;
    match why {
        CloseReason::Ended => "the stream ended without an answer",
        CloseReason::Reset => "the stream was reset",
        CloseReason::Refused => "nobody listens there",
        CloseReason::TimedOut => "no answer in time",
        CloseReason::Malformed => "the answer is no gossip",
        CloseReason::Overflow | CloseReason::Untrusted | CloseReason::Failed => "the connection failed",
    }
}
