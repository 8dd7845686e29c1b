//! Serf's own messages: intents change the table, events and queries are
//! counted and passed on, so that a cluster of agents that this node is part
//! of still hears all of them. Queries of Serf's own are answered.

use std::net::SocketAddr;

use bytes::Bytes;

use super::Gossip;
use super::broadcast::{Broadcast, Tier};
use super::member::Member;
use crate::limits::{GOSSIP_EVENT_BYTES_MAX, GOSSIP_RELAYED_BYTES_MAX};
use crate::status::GossipStatus;
use crate::time::Timestamp;
use crate::wire::gossip::{Holder, Packet, Query, QueryResponse, Relay, SerfMessage, encode_event};

/// The query by which an agent asks whether we are there: the ack answers it.
const PING: &[u8] = b"_serf_ping";
/// The query by which an agent asks who has a name.
const CONFLICT: &[u8] = b"_serf_conflict";

impl Gossip {
    /// Takes a message of Serf's own.
    pub(super) fn handle_serf(&mut self, now: Timestamp, message: &Bytes) {
        let decoded = match SerfMessage::decode(message) {
            Ok(decoded) => decoded,
            Err(bad) => return self.count_bad(bad),
        };
        match decoded {
            SerfMessage::Join { time, node } => {
                if self.with_news(|table, news| table.hear_join(now, &node, time, news)) {
                    self.pass_on(Tier::Intent, message);
                }
            }
            SerfMessage::Leave { time, node, prune } => {
                if self.with_news(|table, news| table.hear_leave(now, &node, time, prune, news)) {
                    self.pass_on(Tier::Intent, message);
                }
            }
            SerfMessage::UserEvent(event) => {
                if self.hear_event(event.time, &event.name, &event.payload) {
                    self.pass_on(Tier::Event, message);
                }
            }
            SerfMessage::Query(query) => self.handle_query(now, &query, message),
            SerfMessage::Relay(relay) => {
                let packet = Packet::User(relay.message);
                self.send_compound(relay.dest, crate::wire::gossip::Compound::with_first(packet.encode()), false);
            }
            SerfMessage::QueryResponse(response) if self.take_key_answer(now, &response) => {}
            SerfMessage::QueryResponse(_)
            | SerfMessage::ConflictResponse(_)
            | SerfMessage::KeyRequest { .. }
            | SerfMessage::KeyResponse(_) => self.counters.unexpected += 1,
        }
    }

    /// Takes in a user event, from gossip or from a push/pull. True if it is news.
    pub(super) fn hear_event(&mut self, time: u64, name: &[u8], payload: &[u8]) -> bool {
        if !self.table.event_clock.witness(time) || name.len() + payload.len() > GOSSIP_EVENT_BYTES_MAX {
            self.counters.unusable += 1;
            return false;
        }
        let event = encode_event(name, payload);
        let fresh = self.recent_events.is_fresh(self.table.event_clock.time(), time, &event);
        self.counters.user_events += u64::from(fresh);
        fresh
    }

    /// Passes a message on as it came.
    fn pass_on(&mut self, tier: Tier, message: &Bytes) {
        let bytes = Packet::User(message.clone()).encode();
        self.broadcasts.push(Broadcast { tier, about: Bytes::new(), bytes, urgent: false });
    }

    fn handle_query(&mut self, now: Timestamp, query: &Query, message: &Bytes) {
        if !self.table.query_clock.witness(query.time) || message.len() > GOSSIP_EVENT_BYTES_MAX {
            self.counters.unusable += 1;
            return;
        }
        let id = Bytes::copy_from_slice(&query.id.to_be_bytes());
        if !self.recent_queries.is_fresh(self.table.query_clock.time(), query.time, &id) {
            return;
        }
        self.counters.queries += 1;
        if query.flags & Query::NO_REBROADCAST == 0 {
            self.pass_on(Tier::Query, message);
        }
        let meant = self.filters.let_through(now, &query.filters, &self.table.own, self.table.myself());
        self.counters.no_room += u64::from(meant.is_none());
        if meant != Some(true) || self.table.leaving {
            return;
        }
        if query.flags & Query::WANT_ACK != 0 || &query.name[..] == PING {
            self.answer(query, QueryResponse::ACK, Bytes::new());
        }
        if &query.name[..] == CONFLICT && query.payload != self.table.own {
            let holder = self.table.get(&query.payload).map(|member| Holder {
                name: query.payload.clone(),
                addr: member.addr,
                tags: member.tags.iter().map(|(tag, value)| (tag.clone().into(), value.clone().into())).collect(),
                status: serf_number(member.status),
                versions: member.versions,
            });
            self.answer(query, 0, SerfMessage::ConflictResponse(holder).encode());
        }
        self.handle_key_query(query);
    }

    pub(super) fn answer(&mut self, query: &Query, flags: u32, payload: Bytes) {
        let (time, id, from) = (query.time, query.id, self.table.own.clone());
        let to: SocketAddr = query.source;
        let answer = SerfMessage::QueryResponse(QueryResponse { time, id, from, flags, payload });
        self.send_serf(to, &answer);
        self.relay(query, answer.encode());
    }

    /// Sends an answer through others as well, as many as the asker wants: datagrams get lost.
    fn relay(&mut self, query: &Query, message: Bytes) {
        let factor = usize::from(query.relay_factor);
        if factor == 0 || self.table.members.len() <= factor {
            return;
        }
        let relay = Relay { dest: query.source, dest_name: query.source_node.clone(), message };
        let relay = SerfMessage::Relay(relay);
        if relay.encode().len() > GOSSIP_RELAYED_BYTES_MAX {
            return;
        }
        // Old agents cannot pass it on.
        let able =
            |member: &Member| member.status == GossipStatus::Alive && !member.gone() && member.understands_checksums();
        let through = self.table.draw(&mut self.rng, factor, |_, member| able(member));
        let through: Vec<_> = through.iter().map(|(_, member)| member.addr).collect();
        for to in through {
            self.send_serf(to, &relay);
        }
    }
}

/// Serf's number for a status.
fn serf_number(status: GossipStatus) -> i64 {
    match status {
        GossipStatus::None => 0,
        GossipStatus::Alive => 1,
        GossipStatus::Leaving => 2,
        GossipStatus::Left => 3,
        GossipStatus::Failed => 4,
    }
}
