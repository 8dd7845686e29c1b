//! Whether another node that is presented by this node's name lives. What the
//! others remember may be this node's former life, at another address: so it
//! is asked, by that name, and only its own answer counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Gossip, GossipOutput};
use crate::time::Timestamp;

/// Wait before the same question is put again: push/pulls present it again and again.
const AGAIN: Duration = Duration::from_millis(500);

/// Who was asked.
#[derive(Debug)]
pub(super) struct Holder {
    at: SocketAddr,
    tags: BTreeMap<String, String>,
    sequence: u32,
    asked: Timestamp,
}

impl Gossip {
    /// Asks whoever is presented by this node's name.
    pub(super) fn ask_holder(&mut self, at: SocketAddr, tags: BTreeMap<String, String>) {
        let now = self.now;
        if self.holder.as_ref().is_some_and(|holder| now.since(holder.asked) < AGAIN) || self.table.leaving {
            return;
        }
        let sequence = self.prober.next_sequence();
        self.holder = Some(Holder { at, tags, sequence, asked: now });
        let ping = self.ping(sequence, self.table.own.clone());
        // Nothing else goes along: to whoever it is, this node is a stranger.
        let compound = crate::wire::gossip::Compound::with_first(ping.encode());
        self.send_compound(at, compound, false);
    }

    /// An ack; true if it is whoever has this node's name that answers.
    pub(super) fn holder_answers(&mut self, sequence: u32) -> bool {
        let Some(Holder { at, tags, .. }) = self.holder.take_if(|holder| holder.sequence == sequence) else {
            return false;
        };
        self.outputs.push_back(GossipOutput::NameHeld { address: at, tags });
        true
    }
}
