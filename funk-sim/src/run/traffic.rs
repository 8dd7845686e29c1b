//! What clients do all the while.

use bytes::Bytes;
use funk_proto::Request;
use funk_proto::id::ShardId;

use super::{Action, Runner};
use crate::service::FOREVER;

impl Runner<'_> {
    /// An application ends when its node is refused.
    pub(super) fn end_the_refused(&mut self) {
        for at in 0..self.world.hosts().len() {
            let host = &self.world.hosts()[at];
            if host.runs() && host.is_refused() && (self.world.has_gone(at) || self.world.is_spare(at)) {
                self.world.kill(at);
            }
        }
    }

    /// A request, now and then a proposal, and a reader that wants to see it; and again soon.
    pub(super) fn traffic(&mut self) {
        self.end_the_refused();
        let shard = ShardId(u32::try_from(self.rng.below(self.plan.shards.into())).expect("below a u32"));
        // A few of them are never done while it matters.
        let work = u8::try_from(self.rng.below(82)).expect("below 82");
        let work = if work < 80 { work } else { FOREVER };
        self.world.ask(shard, Bytes::copy_from_slice(&[work]));
        if self.rng.below(6) == 0 {
            let running = self.world.running();
            if !running.is_empty() {
                let at = running[self.draw(running.len())];
                if !self.world.hosts()[at].foreign {
                    self.proposed += 1;
                    let bytes = Bytes::copy_from_slice(&self.proposed.to_be_bytes());
                    let _ = self.world.propose_through(at, &bytes);
                    if self.proposed.is_multiple_of(3) {
                        let reader = running[self.draw(running.len())];
                        let _ = self.world.request(reader, Request::Barrier);
                    }
                }
            }
        }
        let pause = 20 + self.rng.below(120);
        self.after(pause, Action::Traffic);
    }
}
