//! The gossip keys of the whole cluster: what operators ask of them.

use std::time::Duration;

use bytes::Bytes;

use super::Node;
use crate::error::RequestError;
use crate::event::{Event, Outcome};
use crate::io::Output;
use crate::limits::KEY_ANSWERS_WAIT_MAX;
use crate::request::RequestId;
use crate::time::Timestamp;
use crate::wire::gossip::{KeyReport, KeyWish, Keyring};

impl Node {
    /// Asks every live member, and those that the member table has up: gossip may not show one whose keys are others.
    pub(super) fn ask_keys(
        &mut self,
        now: Timestamp,
        id: RequestId,
        wish: &KeyWish,
        wait: Duration,
    ) -> Result<(), RequestError> {
        let up = self.state.iter().flat_map(|state| state.members.iter()).filter(|member| member.boot.is_some());
        let name = |name: &str| Bytes::copy_from_slice(name.as_bytes());
        let wanted = up.map(|member| (name(member.name.as_str()), member.serf)).collect();
        let is_taken = self.gossip.ask_keys(now, id.0, wish, wanted, wait.min(KEY_ANSWERS_WAIT_MAX));
        if is_taken { Ok(()) } else { Err(RequestError::Busy) }
    }

    pub(super) fn end_key_question(&mut self, number: u64, report: KeyReport) {
        self.event(Event::RequestDone { id: RequestId(number), outcome: Outcome::Keys(report) });
    }

    pub(super) fn handle_ring_changed(&mut self, ring: Keyring) {
        self.outputs.push_back(Output::KeepRing(ring));
    }
}
