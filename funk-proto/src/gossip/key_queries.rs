//! Serf's queries about keys, by which an operator changes the ring of a whole pool and lists it. Each node answers for
//! itself. It answers a change when the ring is kept, so that whoever counts the answers knows what a restart finds.
//!
//! Keys neither come nor go in the clear: a node that takes or sends gossip without encryption, while a pool goes over to
//! keys, refuses these queries.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Gossip, GossipOutput};
use crate::limits::GOSSIP_RINGS_KEPT_MAX;
use crate::wire::gossip::{GossipKey, KeyChange, KeyResponse, Query, SerfMessage};

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

/// Rings that are being kept, in their order, and the queries that wait for it.
#[derive(Debug, Default)]
pub(super) struct Keeping(VecDeque<Query>);

/// What a query about keys wants.
enum Wish {
    List,
    Change(KeyChange),
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
        let wish = make.map_or(Ok(Wish::List), |make| asked_key(&query.payload).map(make).map(Wish::Change));
        let result = wish.and_then(|wish| self.do_as_asked(query, wish));
        match result {
            Ok(Some(answer)) => self.answer_keys(query, &answer),
            // It is answered when the ring is kept.
            Ok(None) => {}
            Err(why) => {
                let (asker, what) = (String::from_utf8_lossy(&query.source_node), String::from_utf8_lossy(&query.name));
                tracing::warn!(%asker, %what, why, "a query about gossip keys is refused");
                self.answer_keys(query, &KeyResponse { message: why.into(), ..KeyResponse::default() });
            }
        }
    }

    fn do_as_asked(&mut self, query: &Query, wish: Wish) -> Result<Option<KeyResponse>, String> {
        let Some(keys) = &mut self.sealing.keys else { return Err(NO_RING.into()) };
        if !(keys.verify_incoming && keys.verify_outgoing) {
            return Err(GOES_OVER.into());
        }
        let change = match wish {
            Wish::Change(change) => change,
            Wish::List => {
                let shown = |key: &GossipKey| Bytes::from(key.to_base64());
                let (all, primary_key) = (keys.ring.keys().iter().map(shown).collect(), shown(keys.ring.primary()));
                return Ok(Some(KeyResponse { result: true, keys: all, primary_key, ..KeyResponse::default() }));
            }
        };
        if self.sealing.keeping.0.len() >= GOSSIP_RINGS_KEPT_MAX {
            return Err(BUSY.into());
        }
        let mut ring = keys.ring.clone();
        ring.change(&change).map_err(|why| why.to_string())?;
        if ring != keys.ring {
            let asker = String::from_utf8_lossy(&query.source_node);
            tracing::info!(%asker, what = change.word(), keys = ring.keys().len(), "the gossip keyring changed");
            self.counters.key_changes += 1;
            keys.ring = ring.clone();
        }
        // What waits needs the key no more.
        self.sealing.keeping.0.push_back(Query { payload: Bytes::new(), ..query.clone() });
        self.outputs.push_back(GossipOutput::RingChanged(ring));
        Ok(None)
    }

    /// The oldest ring that is being kept is kept, or cannot be, and why.
    pub fn handle_ring_kept(&mut self, result: Result<(), String>) {
        let Some(query) = self.sealing.keeping.0.pop_front() else { return };
        let message = result.as_ref().err().cloned().unwrap_or_default().into();
        self.answer_keys(&query, &KeyResponse { result: result.is_ok(), message, ..KeyResponse::default() });
    }

    fn answer_keys(&mut self, query: &Query, answer: &KeyResponse) {
        self.answer(query, 0, SerfMessage::KeyResponse(answer.clone()).encode());
    }
}

fn asked_key(payload: &[u8]) -> Result<GossipKey, String> {
    match SerfMessage::decode(payload) {
        Ok(SerfMessage::KeyRequest { key }) => GossipKey::new(&key).map_err(|bad| bad.to_string()),
        _ => Err(NO_KEY.into()),
    }
}
