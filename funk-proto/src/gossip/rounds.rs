//! Sending: rounds of gossip, and what rides along with other datagrams.

use std::net::SocketAddr;

use super::member::{Life, Member};
use super::{Gossip, GossipOutput};
use crate::time::Timestamp;
use crate::wire::gossip::{Compound, Packet, SerfMessage, with_crc};

impl Gossip {
    /// When the next round is due: soon after news, and again and again until
    /// all of it was sent often enough. Without news there is nothing to say.
    pub(super) fn next_round(&self) -> Option<Timestamp> {
        if self.looks || self.broadcasts.is_empty() {
            return None;
        }
        let urgent = self.broadcasts.is_urgent();
        let pause = if urgent { self.timing.urgent_interval } else { self.timing.gossip_interval };
        Some(self.last_round.map_or(self.now, |last| last + pause))
    }

    /// Tells a few members the news.
    pub(super) fn gossip(&mut self, now: Timestamp) {
        self.last_round = Some(now);
        let after = self.timing.gossip_to_the_dead;
        let peers = self.table.draw(&mut self.rng, self.timing.gossip_nodes, |_, member| match member.life {
            Life::Alive | Life::Suspect => true,
            Life::Dead => now.since(member.since) <= after,
            Life::Left | Life::Forgotten => false,
        });
        let peers: Vec<_> = peers.iter().map(|(_, member)| (member.addr, member.understands_checksums())).collect();
        let limit = self.retransmit_limit();
        for &(to, checksum) in &peers {
            let mut compound = Compound::new();
            compound.reserve(self.sealing.overhead());
            self.broadcasts.fill(&mut compound, limit);
            if compound.is_empty() {
                break;
            }
            self.send_compound(to, compound, checksum);
        }
        if !peers.is_empty() {
            self.broadcasts.round_ended();
        }
    }

    fn retransmit_limit(&self) -> u32 {
        self.timing.retransmit_limit(self.table.nodes())
    }

    /// Sends a message; news that fits goes with it.
    pub(super) fn send(&mut self, to: SocketAddr, packet: &Packet) {
        let mut compound = Compound::with_first(packet.encode());
        if !self.broadcasts.is_empty() {
            let limit = self.retransmit_limit();
            compound.reserve(self.sealing.overhead());
            self.broadcasts.fill(&mut compound, limit);
        }
        self.send_compound(to, compound, false);
    }

    /// Sends what is in it; with a checksum to those known to understand it.
    pub(super) fn send_compound(&mut self, to: SocketAddr, compound: Compound, checksum: bool) {
        let Some(bytes) = compound.finish() else { return };
        let bytes = self.sealing.datagram(if checksum { with_crc(&bytes) } else { bytes });
        self.counters.datagrams_sent += 1;
        self.counters.bytes_sent += bytes.len() as u64;
        self.outputs.push_back(GossipOutput::Datagram { to, bytes });
    }

    /// Sends a message of Serf's own to one node.
    pub(super) fn send_serf(&mut self, to: SocketAddr, message: &SerfMessage) {
        let compound = Compound::with_first(Packet::User(message.encode()).encode());
        self.send_compound(to, compound, false);
    }

    /// Tells these members at once, each message in a datagram of its own: an
    /// agent takes the messages of one in any order.
    pub(super) fn tell_at_once(&mut self, count: usize, packets: &[Packet]) {
        let told = self.table.draw(&mut self.rng, count, |_, member: &Member| !member.gone());
        let told: Vec<_> = told.iter().map(|(_, member)| (member.addr, member.understands_checksums())).collect();
        for packet in packets {
            for &(to, checksum) in &told {
                self.send_compound(to, Compound::with_first(packet.encode()), checksum);
            }
        }
    }
}
