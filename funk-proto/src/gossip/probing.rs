//! The probe cycle: ping one member after another; ask others to ping one that
//! is silent, and ping it on a stream too; suspect it if nobody got an answer.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::member::Life;
use super::probe::{Probe, RelayEnd};
use super::{Exchange, Gossip, GossipOutput, Purpose};
use crate::time::Timestamp;
use crate::wire::gossip::{Accusation, Compound, Coordinate, Packet};

impl Gossip {
    /// Does what is due of the probe cycle.
    pub(super) fn handle_probe_timeout(&mut self, now: Timestamp) {
        for RelayEnd { asker, sequence } in self.prober.relays_failed(now) {
            self.send(asker, &Packet::Nack { sequence });
        }
        if let Some(probe) = &self.prober.probe {
            if probe.deadline <= now {
                self.end_probe(now);
            } else if probe.ask_others.is_some_and(|at| at <= now) {
                self.ask_others();
            }
        }
        if self.prober.next <= now {
            let interval = self.timing.probe_interval;
            // Probes that were missed are not made up for.
            self.prober.next = if now - self.prober.next < interval { self.prober.next } else { now } + interval;
            if self.prober.probe.is_none() && !self.table.leaving {
                self.begin_probe(now);
            }
        }
    }

    fn begin_probe(&mut self, now: Timestamp) {
        let Some(target) = self.next_target(now) else { return };
        let Some(member) = self.table.get(&target) else { return };
        let (to, incarnation, checksum) = (member.addr, member.incarnation, member.understands_checksums());
        let suspected = member.life == Life::Suspect;
        let sequence = self.prober.next_sequence();
        let budget = self.timing.probe_interval * (self.health.score() + 1);
        self.prober.probe = Some(Probe {
            sequence,
            target: target.clone(),
            sent: now,
            ask_others: Some(now + self.timing.probe_timeout.min(budget)),
            deadline: now + budget,
            nacks_wanted: 0,
            nacks: 0,
            stream: None,
            stream_answered: false,
            refused: false,
        });
        self.counters.probes += 1;
        let ping = self.ping(sequence, target.clone());
        if suspected {
            // It learns of the suspicion with the ping, and can answer both.
            let from = self.table.own.clone();
            let suspect = Packet::Suspect(Accusation { incarnation, node: target, from });
            let mut compound = Compound::with_first(ping.encode());
            compound.push(suspect.encode());
            self.send_compound(to, compound, checksum);
        } else {
            self.send(to, &ping);
        }
    }

    pub(super) fn ping(&self, sequence: u32, node: Bytes) -> Packet {
        let source = Some(self.table.myself().addr);
        Packet::Ping { sequence, node, source, source_node: self.table.own.clone() }
    }

    fn next_target(&mut self, now: Timestamp) -> Option<Bytes> {
        for _ in 0..2 {
            while let Some(name) = self.prober.next_name() {
                if name != self.table.own && self.table.get(&name).is_some_and(|member| !member.gone()) {
                    return Some(name);
                }
            }
            self.table.purge(now);
            self.coordinates.retain(|name| self.table.get(name).is_some());
            let names = self.table.others().filter(|(_, member)| !member.gone()).map(|(name, _)| name.clone());
            let names = names.collect();
            self.prober.begin_round(&mut self.rng, names);
        }
        None
    }

    /// The target is silent: others may reach it, and streams may get through.
    fn ask_others(&mut self) {
        let Some(probe) = &mut self.prober.probe else { return };
        probe.ask_others = None;
        let (sequence, target, deadline) = (probe.sequence, probe.target.clone(), probe.deadline);
        let Some(member) = self.table.get(&target) else { return };
        let (address, stream) = (member.addr, member.understands_stream_pings());
        let helpers = self.table.draw(&mut self.rng, self.timing.indirect_checks, |name, member| {
            *name != target && member.life == Life::Alive
        });
        let helpers: Vec<_> = helpers.iter().map(|(_, member)| (member.addr, member.understands_nacks())).collect();
        let (source, source_node) = (Some(self.table.myself().addr), self.table.own.clone());
        for &(to, nack) in &helpers {
            let (node, source_node) = (target.clone(), source_node.clone());
            self.send(to, &Packet::IndirectPing { sequence, target: address, node, nack, source, source_node });
        }
        let conn = stream.then(|| {
            let conn = self.dials.next();
            self.exchanges.insert(conn, Exchange { to: address, purpose: Purpose::Ping(sequence), deadline });
            self.outputs.push_back(GossipOutput::Dial { conn, to: address });
            let bytes = self.ping(sequence, target).encode();
            self.say(conn, bytes);
            conn
        });
        if let Some(probe) = &mut self.prober.probe {
            let wanted = helpers.iter().filter(|(_, nack)| *nack).count();
            probe.nacks_wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
            probe.stream = conn;
        }
    }

    /// Time is up.
    fn end_probe(&mut self, now: Timestamp) {
        let Some(probe) = self.prober.probe.take() else { return };
        self.close_probe_stream(&probe);
        if probe.stream_answered {
            self.counters.probes_by_stream += 1;
            let member = String::from_utf8_lossy(&probe.target).into_owned();
            tracing::warn!(member, "a member answers on a stream, but gossip datagrams do not get through");
            return;
        }
        self.counters.probes_failed += 1;
        // Helpers that do not even say that they failed are out of reach: it may be this node's fault.
        let missing = probe.nacks_wanted.saturating_sub(probe.nacks);
        self.health.worse(if probe.nacks_wanted > 0 { missing } else { 1 });
        let Some(incarnation) = self.table.get(&probe.target).map(|member| member.incarnation) else { return };
        let (node, from) = (probe.target.clone(), self.table.own.clone());
        self.with_news(|table, news| table.hear_suspect(now, &Accusation { incarnation, node, from }, news));
        // Somebody else, who is reached, does not reach it either: this node is not the one that is cut off.
        if probe.refused && probe.nacks > 0 {
            self.table.suspect_is_refused(&probe.target);
        }
    }

    fn close_probe_stream(&mut self, probe: &Probe) {
        if let Some(conn) = probe.stream.filter(|conn| self.exchanges.remove(conn).is_some()) {
            self.outputs.push_back(GossipOutput::Close { conn });
        }
    }

    /// An ack: of this node's probe, or of one for another.
    pub(super) fn handle_ack(&mut self, now: Timestamp, sequence: u32, payload: &Bytes) {
        if let Some(probe) = self.prober.probe.take_if(|probe| probe.sequence == sequence) {
            self.close_probe_stream(&probe);
            self.health.better();
            if probe.ask_others.is_some() {
                self.learn_distance(&probe.target, payload, now - probe.sent);
            }
        } else if let Some(RelayEnd { asker, sequence }) = self.prober.relay_answered(sequence) {
            self.send(asker, &Packet::Ack { sequence, payload: Bytes::new() });
        } else if self.holder_answers(sequence) {
            // Nothing else is to be learned from it.
        } else {
            self.counters.unexpected += 1;
        }
    }

    fn learn_distance(&mut self, target: &Bytes, payload: &Bytes, round_trip: Duration) {
        match Coordinate::decode(payload) {
            Ok(Some(coordinate)) => {
                if !self.coordinates.update(&mut self.rng, target, &coordinate, round_trip) {
                    self.counters.unusable += 1;
                }
            }
            Ok(None) => {}
            Err(bad) => self.count_bad(bad),
        }
    }

    pub(super) fn handle_nack(&mut self, sequence: u32) {
        match &mut self.prober.probe {
            Some(probe) if probe.sequence == sequence && probe.nacks < probe.nacks_wanted => probe.nacks += 1,
            _ => self.counters.unexpected += 1,
        }
    }

    /// The ping on the stream was answered.
    pub(super) fn handle_stream_ack(&mut self, sequence: u32) {
        if let Some(probe) = self.prober.probe.as_mut().filter(|probe| probe.sequence == sequence) {
            probe.stream = None;
            probe.stream_answered = true;
        }
    }

    /// Nobody took the ping on the stream.
    pub(super) fn handle_stream_refused(&mut self, sequence: u32) {
        if let Some(probe) = self.prober.probe.as_mut().filter(|probe| probe.sequence == sequence) {
            probe.stream = None;
            probe.refused = true;
        }
    }

    pub(super) fn handle_ping(&mut self, to: SocketAddr, sequence: u32, node: &Bytes) {
        if node.is_empty() || *node == self.table.own {
            let payload = self.coordinates.own().encode();
            self.send(to, &Packet::Ack { sequence, payload });
            if *node == self.table.own {
                self.ask_who_knows_me(to);
            }
        } else {
            self.counters.unexpected += 1;
        }
    }

    /// Another node asks for a ping.
    pub(super) fn handle_indirect_ping(
        &mut self,
        now: Timestamp,
        end: RelayEnd,
        to: SocketAddr,
        node: Bytes,
        nack: bool,
    ) {
        let deadline = now + self.timing.probe_timeout;
        match self.prober.relay(end, nack, deadline) {
            Some(sequence) => {
                let ping = self.ping(sequence, node);
                self.send(to, &ping);
            }
            None => self.counters.no_room += 1,
        }
    }

    /// This process did not run for `gap`: what it did not hear in that time says nothing.
    pub(super) fn forgive(&mut self, now: Timestamp, gap: Duration) {
        if let Some(probe) = self.prober.probe.take() {
            self.close_probe_stream(&probe);
        }
        self.prober.next = now + self.timing.probe_interval;
        self.table.prolong(gap);
    }
}
