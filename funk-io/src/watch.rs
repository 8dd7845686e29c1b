//! Waiting for a newer route table, or for the lease to come back.

use std::sync::Arc;

use crate::gate::Gate;

/// Wakes when the snapshot of the cluster changes. It never wakes again once the driver has stopped.
#[derive(Clone, Debug)]
pub struct Watch {
    gate: Arc<Gate>,
    seen: u64,
}

impl Watch {
    pub(crate) fn new(gate: Arc<Gate>) -> Self {
        let seen = gate.version();
        Self { gate, seen }
    }

    /// Ends once a newer route table than last seen was published, or the
    /// lease came back after it was over. Several changes may be seen as one.
    pub async fn changed(&mut self) {
        loop {
            let changed = self.gate.changed().listen();
            let version = self.gate.version();
            if version != self.seen {
                self.seen = version;
                return;
            }
            changed.await;
        }
    }
}
