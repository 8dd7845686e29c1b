//! What goes into a node.

use std::hash::Hasher;

use funk_proto::{Input, Request, RequestError, RequestId, Timestamp};
use siphasher::sip::SipHasher13;

use super::World;

impl World {
    /// Hands an input to a host's node and does what it says.
    pub fn feed(&mut self, at: usize, input: Input) {
        let host = &mut self.hosts[at];
        let now = host.clock.local(self.now);
        let Some(node) = &mut host.node else { return };
        note_input(&mut self.hash, self.now, at, &input);
        node.handle(now, input);
        self.tally.inputs += 1;
        self.drain(at);
    }

    /// Hands a request to a host's node.
    ///
    /// # Errors
    /// What the node says, or that nobody is there to ask.
    pub fn request(&mut self, at: usize, request: Request) -> Result<RequestId, RequestError> {
        let host = &mut self.hosts[at];
        let now = host.clock.local(self.now);
        let Some(node) = host.node.as_mut().filter(|_| host.paused.is_none()) else {
            return Err(RequestError::Stopping);
        };
        let leaves = matches!(request, Request::Leave);
        // Nodes that could not find each other do, and may have terms and votes to settle.
        let joins = matches!(request, Request::Join(_));
        let plain = matches!(request, Request::Propose(_) | Request::SetEndpoint { .. });
        let asks = matches!(request, Request::Barrier);
        let ends = !leaves && !joins && !plain;
        let id = node.request(now, request)?;
        if ends && !asks || leaves || joins {
            self.disturb_all();
        }
        if asks {
            self.check(Some(at), |checker, scene| checker.on_barrier(scene, at, id));
        }
        if ends {
            self.check(Some(at), |checker, scene| checker.on_request(scene, at, id));
        }
        self.drain(at);
        Ok(id)
    }
}

fn note_input(hash: &mut SipHasher13, now: Timestamp, at: usize, input: &Input) {
    hash.write_u64(now.as_nanos());
    hash.write_u8(u8::try_from(at).unwrap_or(u8::MAX));
    match input {
        Input::Timeout => hash.write_u8(0),
        Input::Datagram { bytes, .. } | Input::Message { bytes, .. } => hash.write(bytes),
        Input::Persisted(token) => hash.write_u64(token.0),
        Input::SnapshotTaken { index, .. } => hash.write_u64(index.0),
        Input::StateGiven { change, shard, state } => {
            hash.write_u64(change.0);
            hash.write_u32(shard.0);
            hash.write_u8(u8::from(state.is_some()));
            hash.write(state.as_deref().unwrap_or_default());
        }
        other => hash.write(format!("{other:?}").as_bytes()),
    }
}
