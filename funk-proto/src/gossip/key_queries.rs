//! Serf's queries about keys, by which an operator changes the ring of a whole pool and lists it. Each node answers for
//! itself. It answers a change when the ring is kept, so that whoever counts the answers knows what a restart finds.
//!
//! Keys neither come nor go in the clear: a node that takes or sends gossip without encryption, while a pool goes over to
//! keys, refuses these queries.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Gossip, GossipOutput};
use crate::limits::GOSSIP_RINGS_KEPT_MAX;
use crate::time::Timestamp;
use crate::wire::gossip::{GossipKey, KeyChange, KeyResponse, KeyWish, Keyring, Query, SerfMessage};

const INSTALL: &[u8] = b"_serf_install-key";
const USE: &[u8] = b"_serf_use-key";
const REMOVE: &[u8] = b"_serf_remove-key";
const LIST: &[u8] = b"_serf_list-keys";

/// What a pool is told that has no keys to change, as agents say it.
const NO_RING: &str = "No keyring to modify (encryption not enabled)";
const GOES_OVER: &str =
    "gossip is not yet encrypted both ways here: start the node without --gossip-verify-incoming and -outgoing first";
const NO_KEY: &str = "the query holds no key";
const BUSY: &str = "too many changes of the keyring are under way: try again";

/// Rings that are being kept, in their order, and who is told of each when it is.
#[derive(Debug, Default)]
pub(super) struct Keeping(VecDeque<Waiting>);

#[derive(Debug)]
enum Waiting {
    /// Another member's query.
    Query(Query),
    /// This node's own question of that number.
    Ask(u64),
    /// Nobody: the ring came from a member that had it.
    Nobody,
}

/// The query that asks others for what is wished.
pub(super) fn name_of(wish: &KeyWish) -> &'static [u8] {
    match wish {
        KeyWish::List => LIST,
        KeyWish::Change(KeyChange::Install(_)) => INSTALL,
        KeyWish::Change(KeyChange::Use(_)) => USE,
        KeyWish::Change(KeyChange::Remove(_)) => REMOVE,
    }
}

impl Gossip {
    /// Answers a query if it is about keys.
    pub(super) fn handle_key_query(&mut self, query: &Query) {
        let make: Option<fn(GossipKey) -> KeyChange> = match &query.name[..] {
            INSTALL => Some(KeyChange::Install),
            USE => Some(KeyChange::Use),
            REMOVE => Some(KeyChange::Remove),
            LIST => None,
            _ => return,
        };
        let wish = make.map_or(Ok(KeyWish::List), |make| asked_key(&query.payload).map(make).map(KeyWish::Change));
        let wish = wish.and_then(|wish| self.check_wish(&wish).map(|()| wish));
        match wish {
            Ok(KeyWish::List) => self.answer_keys(query, self.listed()),
            Ok(KeyWish::Change(change)) => {
                let asker = String::from_utf8_lossy(&query.source_node).into_owned();
                // What waits needs the key no more.
                let waiting = Waiting::Query(Query { payload: Bytes::new(), ..query.clone() });
                self.change_ring(&asker, &change, waiting);
            }
            Err(why) => {
                let (asker, what) = (String::from_utf8_lossy(&query.source_node), String::from_utf8_lossy(&query.name));
                tracing::warn!(%asker, %what, why, "a query about gossip keys is refused");
                self.answer_keys(query, KeyResponse { message: why.into(), ..KeyResponse::default() });
            }
        }
    }

    /// Why this node does not do what is wished, if it does not.
    pub(super) fn check_wish(&self, wish: &KeyWish) -> Result<(), String> {
        let Some(keys) = &self.sealing.keys else { return Err(NO_RING.into()) };
        if !(keys.verify_incoming && keys.verify_outgoing) {
            return Err(GOES_OVER.into());
        }
        let KeyWish::Change(change) = wish else { return Ok(()) };
        if self.sealing.keeping.0.len() >= GOSSIP_RINGS_KEPT_MAX {
            return Err(BUSY.into());
        }
        keys.ring.clone().change(change).map_err(|why| why.to_string())
    }

    /// Does what this node itself wishes, as a member like the others. `None`: the answer comes when the ring is kept.
    pub(super) fn carry_out_own(&mut self, number: u64, wish: &KeyWish) -> Option<KeyResponse> {
        match wish {
            KeyWish::List => Some(self.listed()),
            KeyWish::Change(change) => {
                let own = String::from_utf8_lossy(&self.table.own).into_owned();
                self.change_ring(&own, change, Waiting::Ask(number));
                None
            }
        }
    }

    /// The present ring.
    pub fn ring(&self) -> Option<&Keyring> {
        self.sealing.keys.as_ref().map(|keys| &keys.ring)
    }

    /// Takes the ring that the other members have.
    pub fn set_ring(&mut self, ring: Keyring) {
        if self.ring().is_some_and(|held| *held != ring) {
            self.take_ring(ring, Waiting::Nobody);
        }
    }

    fn listed(&self) -> KeyResponse {
        let Some(ring) = self.ring() else { return KeyResponse::default() };
        let shown = |key: &GossipKey| Bytes::from(key.to_base64());
        let (keys, primary_key) = (ring.keys().iter().map(shown).collect(), shown(ring.primary()));
        KeyResponse { result: true, keys, primary_key, ..KeyResponse::default() }
    }

    /// Makes a change that was checked.
    fn change_ring(&mut self, asker: &str, change: &KeyChange, waiting: Waiting) {
        let Some(mut ring) = self.ring().cloned() else { return };
        let changed = ring.change(change);
        debug_assert!(changed.is_ok(), "it was checked");
        if self.ring() != Some(&ring) {
            tracing::info!(%asker, what = change.word(), keys = ring.keys().len(), "the gossip keyring changed");
        }
        self.take_ring(ring, waiting);
    }

    fn take_ring(&mut self, ring: Keyring, waiting: Waiting) {
        let Some(keys) = &mut self.sealing.keys else { return };
        self.counters.key_changes += u64::from(keys.ring != ring);
        let was_current = self.sealing.watch.fits(&keys.ring);
        keys.ring = ring.clone();
        self.sealing.keeping.0.push_back(waiting);
        self.outputs.push_back(GossipOutput::RingChanged { ring, was_current });
        self.look_at_ring(self.now);
    }

    /// The oldest ring that is being kept is kept, or cannot be, and why.
    pub fn handle_ring_kept(&mut self, now: Timestamp, result: Result<(), String>) {
        self.now = now;
        let kept = result.is_ok();
        let message = result.err().unwrap_or_default().into();
        let answer = KeyResponse { result: kept, message, ..KeyResponse::default() };
        match self.sealing.keeping.0.pop_front() {
            Some(Waiting::Query(query)) => self.answer_keys(&query, answer),
            Some(Waiting::Ask(number)) => self.take_own_answer(number, answer),
            Some(Waiting::Nobody) | None => {}
        }
    }

    fn answer_keys(&mut self, query: &Query, answer: KeyResponse) {
        self.answer(query, 0, SerfMessage::KeyResponse(answer).encode());
    }
}

fn asked_key(payload: &[u8]) -> Result<GossipKey, String> {
    match SerfMessage::decode(payload) {
        Ok(SerfMessage::KeyRequest { key }) => GossipKey::new(&key).map_err(|bad| bad.to_string()),
        _ => Err(NO_KEY.into()),
    }
}
