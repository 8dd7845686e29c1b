//! Since when nothing has been wrong with a host: what must not happen without
//! a cause can be told from what had one.

use std::collections::BTreeSet;
use std::time::Duration;

use super::World;

impl World {
    /// Notes whom anything disturbs. Only who holds the world changes that, so it is asked whenever time goes on.
    pub(super) fn note_disturbances(&mut self) {
        let everywhere = !self.network.conditions.are_calm();
        let slow = self.slow_streams();
        for at in 0..self.hosts.len() {
            let disturbed = everywhere || slow.contains(&at) || self.is_disturbed(at);
            let host = &mut self.hosts[at];
            if disturbed || host.disturbed {
                host.calm_since = self.now;
            }
            host.disturbed = disturbed;
        }
    }

    /// The hosts at either end of streams on which something is still held up that was lost, or could not be sent.
    fn slow_streams(&self) -> BTreeSet<usize> {
        let soon = self.now + Duration::from_millis(5);
        let ends = self.hosts.iter().enumerate().flat_map(|(at, host)| host.streams.values().map(move |end| (at, end)));
        let slow = ends.filter(|(_, end)| end.last > soon || !end.held.is_empty());
        slow.flat_map(|(at, end)| [at, end.peer]).collect()
    }

    fn is_disturbed(&self, at: usize) -> bool {
        let host = &self.hosts[at];
        let drifts = host.drift.unsigned_abs() > u64::from(host.config.timing.drift_ppm);
        if host.is_paused() || !host.listening || drifts || !host.disk.conditions.are_calm() {
            return true;
        }
        let others = (0..self.hosts.len()).filter(|&other| other != at && self.hosts[other].exists());
        others.flat_map(|other| [(at, other), (other, at)]).any(|(from, to)| {
            let link = self.network.link(from, to);
            let slow = link.clogged_until > self.now || !link.extra_delay.is_zero();
            link.cuts > 0 || link.datagram_cuts > 0 || link.rejects > 0 || link.loss > 0 || slow
        })
    }

    /// A process ends, or something is asked for that changes the cluster: nobody counts as undisturbed for a while.
    pub(super) fn disturb_all(&mut self) {
        for host in &mut self.hosts {
            host.calm_since = self.now;
        }
    }
}
