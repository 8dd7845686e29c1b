//! Nodes that come, and those who pretend.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use funk_proto::{DatagramSocket, Input, Request, StreamKind};

use super::{Action, Runner};
use crate::fault::Fault;
use crate::world::World;

/// Hosts that one run may grow to.
const HOSTS_MAX: usize = 24;

impl Runner<'_> {
    fn add(&mut self, change: impl FnOnce(&mut funk_proto::NodeConfig)) -> Option<usize> {
        if self.world.hosts().len() >= HOSTS_MAX {
            return None;
        }
        let join: Vec<SocketAddr> =
            self.world.hosts().iter().filter(|host| !host.stranger).map(|host| host.address(1)).collect();
        let (plan, at) = (self.plan, self.world.hosts().len());
        self.world.add_host(|config| {
            (config.shards, config.join, config.bootstrap) = (plan.shards, join, false);
            super::operations::mix(plan, at, config);
            change(config);
        });
        self.grow();
        Some(at)
    }

    /// A new node joins.
    pub(super) fn newcomer(&mut self, index: usize) {
        let added = self.add(|_| {});
        self.hits[index].on = added.is_some();
        self.hits[index].hosts = added.into_iter().collect();
        if let Some(host) = added {
            self.world.boot(host);
        }
    }

    /// A guest is asked to leave, and is gone some seconds later.
    pub(super) fn see_off(&mut self, host: usize) {
        let staying = self.staying(&[host]);
        if self.leaving.iter().any(|&leaving| leaving) || staying < 2 {
            return;
        }
        if self.world.request(host, Request::Leave).is_ok() {
            self.leaving[host] = true;
            self.after(4_000, Action::Remove(host));
        }
    }

    /// Ends a process that nobody will miss.
    pub(super) fn remove(&mut self, host: usize) {
        let there = &self.world.hosts()[host];
        // Who was never let in votes nowhere.
        let missed = there.known && !there.foreign && !self.world.has_gone(host) && !self.world.is_spare(host);
        if there.exists() && !missed {
            self.stopped[host] = 0;
            self.leaving[host] = false;
            self.world.kill(host);
        }
    }

    /// A node under the name of another.
    pub(super) fn impostor(&mut self, index: usize, hosts: &[usize]) {
        let name = hosts.first().map(|&host| self.world.hosts()[host].config.name.clone());
        let added = name.and_then(|name| self.add(|config| config.name = name));
        self.hits[index].on = added.is_some();
        self.hits[index].hosts = added.into_iter().collect();
        if let Some(host) = added {
            self.world.boot(host);
        }
    }

    /// A node of another cluster, or of another cluster of our name, that joins through us.
    pub(super) fn foreign(&mut self, index: usize, fault: &Fault) {
        let same_name = fault.amount == 1;
        let ours: Vec<SocketAddr> = self.world.hosts().iter().map(|host| host.address(1)).collect();
        let added = self.add(|config| {
            if same_name {
                (config.bootstrap, config.join) = (true, Vec::new());
            } else {
                config.cluster = "other".parse().expect("legal");
            }
        });
        self.hits[index].on = added.is_some();
        self.hits[index].hosts = added.into_iter().collect();
        let Some(host) = added else { return };
        self.world.host_mut(host).stranger = true;
        self.world.boot(host);
        if same_name {
            // It has its own cluster by now; then it is told of ours.
            let _ = self.world.request(host, Request::Join(ours));
        }
    }

    /// Forged news about healthy peers.
    pub(super) fn forge(&mut self, hosts: &[usize]) {
        for &host in hosts {
            if self.rng.below(2) == 0 {
                self.world.forge_reset(host);
            } else if self.world.hosts()[host].runs() {
                let about = self.draw(self.plan.nodes);
                let to = self.world.hosts()[about].address(3);
                self.world.feed(host, Input::Unreachable { to });
            }
        }
    }

    fn garbage(&mut self) -> Bytes {
        let sample = self.world.sample(self.rng.clone().next_u64());
        let mut bytes = match sample.filter(|_| self.rng.below(4) > 0) {
            Some(sample) => sample.to_vec(),
            None => {
                let length = 1 + self.draw(300);
                (0..length).map(|_| self.rng.next_u64().to_le_bytes()[0]).collect()
            }
        };
        for _ in 0..=self.rng.below(4) {
            let at = self.draw(bytes.len());
            match self.rng.below(4) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes.insert(at, 0xff),
                _ => bytes[at] = self.rng.next_u64().to_le_bytes()[0],
            }
        }
        bytes.into()
    }

    fn stranger(&mut self) -> SocketAddr {
        let host = self.draw(self.plan.nodes);
        World::address_of(9, host, 3)
    }

    /// Garbage, and the cluster's own bytes with a few changed.
    pub(super) fn malformed(&mut self, hosts: &[usize]) {
        for &host in hosts {
            let (bytes, from) = (self.garbage(), self.stranger());
            match self.rng.below(4) {
                0 => self.world.inject_datagram(host, DatagramSocket::Liveness, from, bytes),
                1 => self.world.inject_datagram(host, DatagramSocket::Gossip, from, bytes),
                2 => self.world.inject_message(host, StreamKind::Cluster, bytes),
                _ => self.world.inject_message(host, StreamKind::Gossip, bytes),
            }
        }
    }

    /// Very much of it.
    pub(super) fn flood(&mut self, hosts: &[usize], count: u64) {
        let bytes = self.garbage();
        let from = self.stranger();
        for &host in hosts {
            for n in 0..count {
                let socket = if n % 2 == 0 { DatagramSocket::Liveness } else { DatagramSocket::Gossip };
                self.world.inject_datagram(host, socket, from, bytes.clone());
            }
            // What a flood costs the receiver: its own packets come late.
            let late = Duration::from_micros(20 * count);
            let until = self.world.now() + late;
            self.clog(host, until);
        }
    }
}
