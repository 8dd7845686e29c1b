//! This node's own questions about keys, by Serf's queries: each is put to every live member until it has answered or
//! the time for it is over. Unlike Serf's, a question goes to each member by itself and again, so that loss hides nobody.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::{Gossip, GossipOutput};
use crate::limits::{GOSSIP_ASKED_AT_ONCE_MAX, GOSSIP_KEY_ASKS_MAX};
use crate::time::{Timestamp, earliest};
use crate::wire::gossip::{
    GossipKey, KeyAnswer, KeyChange, KeyReport, KeyResponse, KeyWish, Query, QueryResponse, SerfMessage,
};

/// Pause before whoever has not answered is asked again: twice the time of a slow answer.
const AGAIN: Duration = Duration::from_millis(250);

/// The questions that are open.
#[derive(Debug, Default)]
pub(super) struct KeyAsks(Vec<Ask>);

#[derive(Debug)]
struct Ask {
    number: u64,
    /// The query's name.
    name: &'static [u8],
    payload: Bytes,
    /// Members of the cluster, whom gossip may not show if their keys are others.
    wanted: BTreeMap<Bytes, SocketAddr>,
    until: Timestamp,
    next: Timestamp,
    /// Time and number of each query by which it was put.
    queries: Vec<(u64, u32)>,
    answers: BTreeMap<Bytes, KeyResponse>,
    /// Who was asked last: the next round begins behind it.
    last: Bytes,
}

impl KeyAsks {
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.0.iter().fold(None, |due, ask| earliest(due, Some(ask.next.min(ask.until))))
    }
}

impl Gossip {
    /// Asks all live members, and those of `wanted`, which are at these addresses. What they say comes out as
    /// [`GossipOutput::KeysAsked`] with this number, `wait` from now at the latest. If this node itself refuses, nobody
    /// else is asked. False, and nothing is done, if too many questions are open.
    pub fn ask_keys(
        &mut self,
        now: Timestamp,
        number: u64,
        wish: &KeyWish,
        wanted: BTreeMap<Bytes, SocketAddr>,
        wait: Duration,
    ) -> bool {
        self.now = now;
        if self.sealing.asks.0.len() >= GOSSIP_KEY_ASKS_MAX {
            return false;
        }
        let key = match wish {
            KeyWish::List => Bytes::new(),
            KeyWish::Change(KeyChange::Install(key) | KeyChange::Use(key) | KeyChange::Remove(key)) => {
                Bytes::copy_from_slice(key.as_bytes())
            }
        };
        let (until, payload) = (now + wait, SerfMessage::KeyRequest { key }.encode());
        let (name, queries, answers) = (super::key_queries::name_of(wish), Vec::new(), BTreeMap::new());
        let ask = Ask { number, name, payload, wanted, until, next: now + AGAIN, queries, answers, last: Bytes::new() };
        self.sealing.asks.0.push(ask);
        let own = match self.check_wish(wish) {
            Err(why) => Some(KeyResponse { message: why.into(), ..KeyResponse::default() }),
            Ok(()) => {
                // The others first: they know the key that encrypts now.
                let at = self.sealing.asks.0.len() - 1;
                self.put(at);
                self.carry_out_own(number, wish)
            }
        };
        if let Some(own) = own {
            self.take_own_answer(number, own);
        }
        self.end_asks(now);
        true
    }

    /// This node's own answer to its question.
    pub(super) fn take_own_answer(&mut self, number: u64, answer: KeyResponse) {
        let own = self.table.own.clone();
        if let Some(ask) = self.sealing.asks.0.iter_mut().find(|ask| ask.number == number) {
            if !answer.result {
                ask.until = self.now;
            }
            ask.answers.insert(own, answer);
        }
        self.end_asks(self.now);
    }

    /// An answer; false if it is to no question about keys.
    pub(super) fn take_key_answer(&mut self, now: Timestamp, response: &QueryResponse) -> bool {
        let query = (response.time, response.id);
        let Some(at) = self.sealing.asks.0.iter().position(|ask| ask.queries.contains(&query)) else { return false };
        let is_asked = self.asked(&self.sealing.asks.0[at]).contains_key(&response.from);
        let Ok(SerfMessage::KeyResponse(answer)) = SerfMessage::decode(&response.payload) else { return false };
        if is_asked {
            self.sealing.asks.0[at].answers.entry(response.from.clone()).or_insert(answer);
            self.end_asks(now);
        }
        is_asked
    }

    pub(super) fn handle_asks_timeout(&mut self, now: Timestamp) {
        self.end_asks(now);
        for at in 0..self.sealing.asks.0.len() {
            if self.sealing.asks.0[at].next <= now {
                self.sealing.asks.0[at].next = now + AGAIN;
                self.put(at);
            }
        }
    }

    /// Whom a question is for, but for this node.
    fn asked(&self, ask: &Ask) -> BTreeMap<Bytes, SocketAddr> {
        let own = &self.table.own;
        let live = self.table.members.iter().filter(|(name, member)| member.present() && *name != own);
        let mut asked: BTreeMap<_, _> = ask.wanted.iter().map(|(name, at)| (name.clone(), *at)).collect();
        asked.extend(live.map(|(name, member)| (name.clone(), member.addr)));
        asked.remove(own);
        asked
    }

    /// Asks those who have not answered yet, in turns if they are many.
    fn put(&mut self, at: usize) {
        let ask = &self.sealing.asks.0[at];
        let mut silent = self.asked(ask);
        silent.retain(|name, _| !ask.answers.contains_key(name));
        let behind = silent.range::<Bytes, _>((std::ops::Bound::Excluded(&ask.last), std::ops::Bound::Unbounded));
        let before = silent.range::<Bytes, _>(..=&ask.last);
        let turn: Vec<_> = behind.chain(before).take(GOSSIP_ASKED_AT_ONCE_MAX).collect();
        let Some((last, _)) = turn.last() else { return };
        let last = (*last).clone();
        let targets: Vec<_> = turn.iter().map(|(_, at)| **at).collect();
        let id = u32::try_from(self.rng.below(1 << 32)).expect("it is below 2^32");
        let query = Query {
            time: self.table.query_clock.issue(),
            id,
            source: self.table.myself().addr,
            source_node: self.table.own.clone(),
            filters: Vec::new(),
            flags: Query::NO_REBROADCAST,
            relay_factor: 0,
            timeout: self.sealing.asks.0[at].until.since(self.now),
            name: Bytes::from_static(self.sealing.asks.0[at].name),
            payload: self.sealing.asks.0[at].payload.clone(),
        };
        let ask = &mut self.sealing.asks.0[at];
        ask.queries.push((query.time, query.id));
        ask.last = last;
        let message = SerfMessage::Query(query);
        for to in targets {
            self.send_serf(to, &message);
        }
    }

    /// Ends the questions that everybody has answered, or whose time is over.
    fn end_asks(&mut self, now: Timestamp) {
        let asks = std::mem::take(&mut self.sealing.asks.0);
        for ask in asks {
            let mut missing = self.asked(&ask);
            missing.insert(self.table.own.clone(), self.table.myself().addr);
            missing.retain(|name, _| !ask.answers.contains_key(name));
            if !missing.is_empty() && now < ask.until {
                self.sealing.asks.0.push(ask);
                continue;
            }
            let own = ask.answers.get(&self.table.own);
            // Who was not asked because this node refused is not missing.
            let missing = missing.keys().filter(|_| own.is_none_or(|own| own.result)).map(|name| text(name));
            let report = KeyReport {
                missing: missing.collect(),
                answers: ask.answers.iter().map(|(name, answer)| key_answer(name, answer)).collect(),
            };
            self.outputs.push_back(GossipOutput::KeysAsked { number: ask.number, report });
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn key_answer(node: &[u8], answer: &KeyResponse) -> KeyAnswer {
    let read = |key: &Bytes| text(key).parse::<GossipKey>().ok();
    let mut keys: Vec<GossipKey> = answer.keys.iter().filter_map(read).collect();
    // Agents list their keys in any order.
    if let Some(at) = read(&answer.primary_key).and_then(|primary| keys.iter().position(|key| *key == primary)) {
        keys[..=at].rotate_right(1);
    }
    let refused = (!answer.result).then(|| text(&answer.message));
    KeyAnswer { node: text(node), refused, keys }
}
