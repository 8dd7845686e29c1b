//! Members that have applied other entries than their leader: a damaged disk, a forged entry, or a bug.

use super::{Liveness, LivenessOutput, Word};
use crate::id::{BootId, LogIndex, RaftId};
use crate::mutate::{Mutant, planted};
use crate::time::Timestamp;

impl Liveness {
    /// A member says what it has applied. One that has applied other entries gets no lease any more.
    pub fn compare_applied(&mut self, now: Timestamp, from: RaftId, boot: BootId, applied: (LogIndex, u64)) {
        let (index, hash) = applied;
        if !self.history.differs(index, hash) || planted(Mutant::DivergenceUnnoticed) {
            return;
        }
        let Some(authority) = &mut self.authority else { return };
        let Some(tracked) = authority.members.get_mut(&from).filter(|tracked| tracked.boot() == Some(boot)) else {
            return;
        };
        let term = authority.term;
        if !std::mem::replace(&mut tracked.differs, true) {
            self.outputs.push_back(LivenessOutput::MemberDiffers { id: from, boot, index });
        }
        self.send(now, from, Word::Differs { term, index });
    }

    /// Whether the member has applied other entries than this leader.
    pub fn differs(&self, id: RaftId) -> bool {
        let tracked = self.authority.as_ref().and_then(|authority| authority.members.get(&id));
        tracked.is_some_and(|tracked| tracked.differs)
    }
}
