//! Datagrams on their way: lost, late, doubled, damaged, or dug out again.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use funk_proto::{DatagramSocket, Input};

use super::World;
use super::processes::draw;
use crate::happening::Happening;
use crate::network::chance;
use crate::story::Topic;

/// Datagrams kept, to be sent again as old ones.
const OLD_MAX: usize = 64;

impl World {
    /// An address in the world: the `generation`th of a host.
    pub fn address_of(generation: u8, host: usize, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, generation, u8::try_from(host + 1).expect("few hosts")], port))
    }

    /// The host that has this address at present.
    pub fn host_at(&self, address: SocketAddr) -> Option<usize> {
        let SocketAddr::V4(v4) = address else { return None };
        let at = usize::from(v4.ip().octets()[3]).checked_sub(1)?;
        (self.hosts.get(at)?.ip() == address.ip()).then_some(at)
    }

    pub(super) fn send_datagram(&mut self, at: usize, socket: DatagramSocket, to: SocketAddr, bytes: Bytes) {
        self.tally.datagrams += 1;
        let Some(peer) = self.host_at(to) else {
            self.tally.datagrams_lost += 1;
            self.tell(Some(at), Topic::Datagram, || format!("sends a {socket:?} datagram to {to}, where nobody is"));
            return;
        };
        if self.network.link(at, peer).rejects > 0 {
            let (generation, input) = (self.hosts[at].generation, Input::Unreachable { to });
            let when = self.now + Duration::from_micros(80);
            self.queue.push(when, Happening::Local { to: at, generation, input });
            return;
        }
        if !self.network.is_open(at, peer) || self.network.loses_datagram(at, peer, &mut self.rng) {
            self.tally.datagrams_lost += 1;
            return;
        }
        let port = match socket {
            DatagramSocket::Gossip => 1,
            DatagramSocket::Liveness => 3,
        };
        let from = self.hosts[at].address(port);
        let bytes = self.maybe_corrupt(bytes);
        self.deliver(at, peer, socket, from, bytes.clone());
        let conditions = self.network.conditions;
        if chance(&mut self.rng, conditions.duplicate) {
            self.tally.datagrams_doubled += 1;
            self.deliver(at, peer, socket, from, bytes.clone());
        }
        if conditions.replay > 0 {
            self.replay(at, peer, socket, from, bytes);
        }
    }

    fn maybe_corrupt(&mut self, bytes: Bytes) -> Bytes {
        if bytes.is_empty() || !chance(&mut self.rng, self.network.conditions.corrupt) {
            return bytes;
        }
        let mut damaged = bytes.to_vec();
        let at = draw(&mut self.rng, damaged.len());
        damaged[at] ^= 1 << self.rng.below(8);
        self.tally.datagrams_corrupted += 1;
        damaged.into()
    }

    fn deliver(&mut self, at: usize, peer: usize, socket: DatagramSocket, from: SocketAddr, bytes: Bytes) {
        let mut delay = self.network.delay(self.now, at, peer, &mut self.rng);
        let conditions = &self.network.conditions;
        if chance(&mut self.rng, conditions.reorder) {
            delay += self.rng.between(Duration::ZERO, conditions.reorder_by);
        }
        self.queue.push(self.now + delay, Happening::Datagram { to: peer, socket, from, bytes });
    }

    /// Keeps this datagram, and now and then sends one that was kept.
    fn replay(&mut self, at: usize, peer: usize, socket: DatagramSocket, from: SocketAddr, bytes: Bytes) {
        let kept = (at, Happening::Datagram { to: peer, socket, from, bytes });
        if self.old_datagrams.len() < OLD_MAX {
            self.old_datagrams.push(kept);
        } else if self.rng.below(16) == 0 {
            let slot = draw(&mut self.rng, OLD_MAX);
            self.old_datagrams[slot] = kept;
        }
        if chance(&mut self.rng, self.network.conditions.replay) {
            let slot = draw(&mut self.rng, self.old_datagrams.len());
            if let (at, Happening::Datagram { to, socket, from, bytes }) = &self.old_datagrams[slot] {
                let (at, to, socket, from, bytes) = (*at, *to, *socket, *from, bytes.clone());
                self.tally.datagrams_replayed += 1;
                self.deliver(at, to, socket, from, bytes);
            }
        }
    }

    /// Somebody sends this datagram to a host, under any address it likes.
    pub fn inject_datagram(&mut self, to: usize, socket: DatagramSocket, from: SocketAddr, bytes: Bytes) {
        self.tally.injected += 1;
        self.tell(Some(to), Topic::Datagram, || format!("{} foreign bytes come in from {from}", bytes.len()));
        self.queue.push(self.now + Duration::from_micros(50), Happening::Datagram { to, socket, from, bytes });
    }
}
