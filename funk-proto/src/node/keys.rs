//! The gossip keys of the whole cluster: what operators ask of them, and how a member gets them that was down while they
//! changed. The log names them by their ids; the keys themselves go over TLS only.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::Node;
use crate::error::{Misbehaviour, OperationRefused, RequestError};
use crate::event::{Event, Outcome};
use crate::id::{ConnId, RaftId};
use crate::io::Output;
use crate::limits::{JOIN_ADDRESSES_MAX, KEY_ANSWERS_WAIT_MAX};
use crate::mutate::{Mutant, planted};
use crate::request::RequestId;
use crate::time::Timestamp;
use crate::wire::cluster::{FrameBody, RingKeys, WantRing};
use crate::wire::gossip::{GossipKey, KeyOrder, KeyReport, Keyring};

const NOT_ENCRYPTED: &str = "gossip is not encrypted: start the nodes with --encrypt or --keyring-file first";

/// Members that are asked for the ring at once, beside the leader.
const ASKED_AT_ONCE: usize = 3;
/// Questions, one a second, after which a leader that was given no ring takes its own for the cluster's.
const RING_QUESTIONS_MAX: u32 = 30;
/// The question at which a missing key is remarked on, and after how many more again.
const WARN_FIRST: u32 = 5;
const WARN_EACH: u32 = 60;

impl Node {
    /// Asks every live member, and those that the member table has up: gossip may not show one whose keys are others.
    pub(super) fn ask_keys(
        &mut self,
        now: Timestamp,
        id: RequestId,
        order: &KeyOrder,
        wait: Duration,
    ) -> Result<(), RequestError> {
        let wish = self.gossip.ring().ok_or_else(|| NOT_ENCRYPTED.to_owned());
        let wish = match wish.and_then(|ring| order.wish(ring).map_err(|why| why.to_string())) {
            Ok(wish) => wish,
            Err(why) => {
                let outcome = Outcome::Refused(OperationRefused::impossible(why));
                self.event(Event::RequestDone { id, outcome });
                return Ok(());
            }
        };
        let up = self.state.iter().flat_map(|state| state.members.iter()).filter(|member| member.boot.is_some());
        let name = |name: &str| Bytes::copy_from_slice(name.as_bytes());
        let wanted = up.map(|member| (name(member.name.as_str()), member.serf)).collect();
        let is_taken = self.gossip.ask_keys(now, id.0, &wish, wanted, wait.min(KEY_ANSWERS_WAIT_MAX));
        if is_taken { Ok(()) } else { Err(RequestError::Busy) }
    }

    pub(super) fn end_key_question(&mut self, number: u64, report: KeyReport) {
        self.event(Event::RequestDone { id: RequestId(number), outcome: Outcome::Keys(report) });
    }

    /// The ring is another. If this node leads, it is the cluster's from now on.
    pub(super) fn handle_ring_changed(&mut self, ring: Keyring, was_current: bool) {
        self.outputs.push_back(Output::KeepRing(ring));
        if was_current {
            self.leader.handle_ring_changed();
        } else {
            self.leader.wake();
        }
    }

    /// What the cluster's keys are called may be new.
    pub(super) fn look_at_mark(&mut self, now: Timestamp) {
        if let Some(state) = &self.state {
            self.gossip.set_mark(now, &state.ring.keys);
        }
    }

    /// This node lacks the key that the others encrypt with. Members are asked in turns, the leader each time. A leader that
    /// is given none for long is right itself: operators have given all nodes another ring.
    pub(super) fn ask_for_ring(&mut self, questions: u32) {
        let Some(state) = &self.state else { return };
        if questions > RING_QUESTIONS_MAX && self.leader.leads() {
            tracing::info!("nobody has the gossip keys that the cluster used: those of the leader replace them");
            self.leader.handle_ring_changed();
            return;
        }
        if questions % WARN_EACH == WARN_FIRST {
            let key = state.ring.keys.first().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(key, "this node lacks the gossip key that the cluster uses, and nobody has sent it");
        }
        let up = state.members.iter().filter(|member| member.boot.is_some() && member.id != self.me.id);
        let up: Vec<RaftId> = up.map(|member| member.id).collect();
        let turn = up.iter().cycle().skip(questions as usize % up.len().max(1)).take(up.len().min(ASKED_AT_ONCE));
        let leader = self.consensus.leader().filter(|leader| *leader != self.me.id);
        let asked: BTreeSet<RaftId> = turn.copied().chain(leader).collect();
        for id in asked {
            self.peers.send_certified(id, FrameBody::WantRing(WantRing {}));
        }
    }

    /// Whoever asks is a member that is up. It gets the ring over TLS only, and only from who has the right one.
    pub(super) fn handle_want_ring(&mut self, conn: ConnId) -> Result<(), Misbehaviour> {
        let (Some(state), Some(ring)) = (&self.state, self.gossip.ring()) else { return Ok(()) };
        let is_current = ring.ids() == state.ring.keys || planted(Mutant::StaleRingSent);
        if self.peers.certified_name(conn).is_some() && is_current {
            let keys = ring.keys().iter().map(|key| Bytes::copy_from_slice(key.as_bytes())).collect();
            self.peers.answer(conn, FrameBody::Ring(RingKeys { keys }));
        }
        Ok(())
    }

    /// A member sends the ring. It is taken if this node lacks it, and if it is the one that the replicated state names.
    pub(super) fn handle_ring(&mut self, now: Timestamp, from: RaftId, given: &RingKeys) -> Result<(), Misbehaviour> {
        const WHAT: Misbehaviour = Misbehaviour::Malformed("gossip keyring");
        let keys: Result<Vec<_>, _> = given.keys.iter().map(|key| GossipKey::new(key)).collect();
        let ring = Keyring::of(keys.map_err(|_| WHAT)?).map_err(|_| WHAT)?;
        let Some(state) = self.state.as_ref().filter(|state| state.ring.keys == ring.ids()) else { return Ok(()) };
        if !self.gossip.lacks_key() {
            return Ok(());
        }
        let others = state.members.iter().filter(|member| member.id != self.me.id).map(|member| member.serf);
        let others = others.take(JOIN_ADDRESSES_MAX).collect();
        let (peer, version) =
            (self.name_of(from).map_or_else(String::new, |name| name.to_string()), state.ring.version);
        tracing::info!(%peer, version, "the gossip keyring comes from a member");
        self.gossip.set_ring(ring);
        self.gossip.join(now, others);
        Ok(())
    }
}
