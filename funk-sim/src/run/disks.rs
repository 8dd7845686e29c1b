//! Disks that rot or fill up, and who has to go on with them.

use super::Runner;

impl Runner<'_> {
    /// Starts a process anew. One that refuses its disk is lost for the
    /// cluster; somebody puts another disk in, and it comes as a new node.
    pub(super) fn start_again(&mut self, host: usize) {
        self.world.restart(host);
        if self.world.hosts()[host].damage().is_some() {
            self.world.host_mut(host).disk.replace();
            self.world.restart(host);
        }
    }

    /// Flips a bit of a dead process's disk.
    pub(super) fn rot(&mut self, host: usize) {
        let place = self.world.host_mut(host).disk.rot(&mut self.rng);
        let place = place.map_or_else(|| "nothing".into(), |(file, offset)| format!("{file} at {offset}"));
        self.tell(|| format!("of n{host}'s disk rots {place}"));
    }

    /// Disks of nodes that keep what they write.
    pub(super) fn fill_disks(&mut self, index: usize, hosts: &[usize]) {
        self.hits[index].on = self.plan.durable;
        self.hits[index].hosts = hosts.to_vec();
        hosts.iter().for_each(|&host| self.world.host_mut(host).disk.conditions.full = self.plan.durable);
    }

    /// There is room again: who was stopped for want of it starts again.
    pub(super) fn empty_disks(&mut self, hosts: &[usize]) {
        for &host in hosts {
            self.world.host_mut(host).disk.conditions.full = false;
            if self.down[host] == 0 && !self.world.hosts()[host].exists() {
                self.leaving[host] = false;
                self.start_again(host);
            }
        }
    }
}
