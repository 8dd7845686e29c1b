//! Very many at one moment: what each of them says could be true.

use std::net::SocketAddr;

use bytes::Bytes;
use funk_proto::wire::cluster::{BootName, Frame, FrameBody, Hello};
use funk_proto::wire::gossip::{Accusation, NodeRecord, NodeState, Packet, PushPull, encode_tags};
use funk_proto::{DatagramSocket, StreamKind};

use super::Runner;
use crate::world::World;

/// Strangers that say hello, of those in a crowd: each has a stream of its own.
const HELLOS_MAX: u64 = 300;

impl Runner<'_> {
    /// All of them at once: accusations of all members, requests to join on one stream, and hellos.
    pub(super) fn crowd(&mut self, hosts: &[usize], count: u64) {
        for &host in hosts {
            match self.rng.below(3) {
                0 => self.accuse(host, count),
                1 => self.ask_to_join(host, count),
                _ => self.greet(host, count.min(HELLOS_MAX)),
            }
        }
    }

    fn accuse(&mut self, host: usize, count: u64) {
        let from = World::address_of(9, host, 1);
        for n in 0..count {
            let about = self.draw(self.plan.nodes);
            let node = Bytes::from(self.world.hosts()[about].config.name.to_string());
            let incarnation = u32::try_from(self.rng.below(1 << 20)).expect("small");
            let accusation = Accusation { incarnation, node, from: Bytes::from_static(b"nobody") };
            let packet = if n % 2 == 0 { Packet::Suspect(accusation) } else { Packet::Dead(accusation) };
            self.world.inject_datagram(host, DatagramSocket::Gossip, from, packet.encode());
        }
    }

    fn stranger_hello(&mut self, host: usize) -> Option<Hello> {
        let hello = self.hello_of(host)?;
        let (id, boot) = (self.rng.next_u64() | 1, self.rng.next_u64() | 1);
        Some(Hello { id, boot, name: format!("z{id:x}"), ..hello })
    }

    fn ask_to_join(&mut self, host: usize, count: u64) {
        let Some(hello) = self.stranger_hello(host) else { return };
        let mut frames = vec![Frame::bytes(FrameBody::Hello(hello))];
        for _ in 0..count {
            let said = BootName { id: self.rng.next_u64() | 1, boot: self.rng.next_u64() | 1 };
            let mut record = self.record_of(said, host);
            record.name = format!("z{:x}", said.id);
            frames.push(Frame::bytes(FrameBody::Join(record)));
        }
        self.world.inject_messages(host, StreamKind::Cluster, frames);
    }

    fn greet(&mut self, host: usize, count: u64) {
        for n in 0..count {
            let about = self.draw(self.plan.nodes);
            let hello = if n % 2 == 0 { self.stranger_hello(host) } else { self.hello_of(about) };
            let Some(hello) = hello else { return };
            self.world.inject_message(host, StreamKind::Cluster, Frame::bytes(FrameBody::Hello(hello)));
        }
    }

    /// A push/pull of a large foreign pool: its members are nowhere to be reached.
    pub(super) fn pool(&mut self, hosts: &[usize], count: u64) {
        let record = |n: u64| {
            let [.., a, b] = n.to_be_bytes();
            let at = SocketAddr::from(([10, 9, a, b], 1));
            NodeRecord::new(format!("foreign{n:06}").as_bytes(), at, encode_tags(&[].into()), 1, NodeState::Alive)
        };
        let nodes = (0..count).map(record).collect();
        let message = PushPull { join: false, nodes, user_state: Bytes::new() }.encode();
        for &host in hosts {
            self.world.inject_message(host, StreamKind::Gossip, message.clone());
        }
    }
}
