//! Which gossip keys the cluster uses: those of the leader, once they were changed there.

use super::{Facts, Leader};
use crate::wire::cluster::Op;

impl Leader {
    /// The gossip keys were changed on this node, which had the cluster's before.
    pub(crate) fn handle_ring_changed(&mut self) {
        if let Some(leading) = &mut self.leading {
            leading.ring_changed = true;
            leading.dirty = true;
        }
    }

    /// The entry that names the keys, if they are others. A leader that only has others says nothing: it may have been down
    /// when they changed.
    pub(super) fn ring(&self, facts: &Facts<'_>) -> Option<Op> {
        let (ids, mark) = (facts.gossip.ring()?.ids(), &facts.state.ring);
        let changed = self.leading.as_ref().is_some_and(|leading| leading.ring_changed);
        (ids != mark.keys && (mark.version == 0 || changed)).then(|| Op::Ring(mark.replaced(&ids)))
    }
}
