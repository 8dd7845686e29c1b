//! What is done with each output of the node, and what follows from it in the same pass.

use funk_proto::id::{LogIndex, ShardId};
use funk_proto::{Event, GossipRefusal, Input, Keyring, Outcome, Output, RefusedPeer};

use super::{Driver, answer};
use crate::error::StopReason;
use crate::runtime::Runtime;

/// Rounds of output and echo in one pass; what is left over waits for the next pass.
const ROUNDS_MAX: usize = 64;

impl<R: Runtime> Driver<'_, R> {
    /// Carries out all that the node says, and gives back what follows: tokens
    /// of stable writes, drained shards, closed streams.
    pub(super) fn carry_out(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.publish_and_execute();
            self.streams.flush(&mut self.echoes);
            self.collect_stable();
            if self.echoes.is_empty() {
                return;
            }
            while let Some(echo) = self.echoes.pop_front() {
                self.node.handle(self.clock.now(), echo);
            }
        }
        self.hub_again();
    }

    fn collect_stable(&mut self) {
        loop {
            match self.store.poll_stable() {
                Ok(Some(token)) => self.echoes.push_back(Input::Persisted(token)),
                Ok(None) => return,
                Err(error) => return self.stop_for(error),
            }
        }
    }

    /// Asks for another pass at once.
    fn hub_again(&self) {
        self.shared.wake.wake_by_ref();
    }

    /// A closed gate is visible before anything leaves that follows from it.
    fn publish_and_execute(&mut self) {
        let mut outputs = std::mem::take(&mut self.outputs);
        outputs.extend(std::iter::from_fn(|| self.node.poll_output()));
        // Who serves hears of what gives a right before anybody gets that right.
        let mut stuck = false;
        for output in &outputs {
            stuck |= self.application.before_publish(output, &self.shared.gate).is_err();
        }
        if stuck {
            // What follows from what it never heard must not happen.
            return self.stop(self.clock.now(), StopReason::ServiceStuck);
        }
        let closing: Vec<_> = outputs.iter().filter_map(closing).collect();
        let freezing: Vec<_> = outputs.iter().filter_map(freezing).collect();
        let node = &self.node;
        let now = self.clock.now();
        self.publisher.publish(now, node.route_version(), || node.routes(), node.lease_until(), &closing, &freezing);
        self.lease_watch.look(now, node.lease_until(), &self.shared.meters);
        drop(closing);
        self.shared.words.publish(node.last_words_version(), || node.last_words());
        self.shared.endpoint_watchers.publish(node.endpoints_version(), || node.endpoints());
        if let Some(silence) = self.node.take_silence() {
            self.failover_watch.detected(now, silence, &self.shared.meters);
        }
        for output in outputs.drain(..) {
            self.execute(output);
        }
        self.outputs = outputs;
    }

    fn execute(&mut self, output: Output) {
        match output {
            Output::Datagram { socket, to, bytes } => {
                self.echoes.extend(self.datagrams.send(socket, to, &bytes));
            }
            Output::Dial { conn, to, channel } => self.streams.dial(conn, channel, to),
            Output::Message { conn, bytes } => self.streams.send(conn, &bytes, false, &mut self.echoes),
            Output::Reply { conn, bytes } => self.streams.send(conn, &bytes, true, &mut self.echoes),
            Output::Close { conn } => self.streams.close(conn),
            Output::Persist(persist) => {
                self.shared.meters.record(persist.record.len(), persist.replaces);
                if let Err(error) = self.store.write(persist) {
                    self.stop_for(error);
                }
            }
            Output::Drain { change, shards } => self.echoes.extend(self.publisher.drain(change, &shards)),
            Output::Freeze { change, .. } => {
                self.echoes.push_back(Input::Frozen { change, until: self.publisher.frozen_until(change) });
            }
            Output::StateWanted { change, shards } => {
                self.application.want_states(change, shards, &self.shared.gate, &mut self.echoes);
            }
            // It was kept before the table that makes the shard this node's was published.
            Output::StateReceived { .. } => {}
            Output::SnapshotWanted { index } => self.echoes.extend(self.application.want_snapshot(index)),
            Output::SnapshotInstalled { index, state } => self.application.restore(index, &state),
            Output::GossipRefused { peer, why } => self.tell_refused(peer, why),
            Output::KeepRing(ring) => self.keep_ring(ring),
            Output::Event(event) => self.tell(event),
        }
    }

    /// Who is refused for its gossip tries again and again: it is said once a minute for each address.
    fn tell_refused(&mut self, peer: RefusedPeer, why: GossipRefusal) {
        let address = match peer {
            RefusedPeer::Address(address) => Some(address),
            RefusedPeer::Stream(conn) => self.streams.address(conn),
        };
        let Some(peer) = address else { return };
        if let Some(times) = self.refused.count(peer.ip()) {
            let node = self.shared.name.as_str();
            tracing::warn!(node, %peer, %why, times, "a peer's gossip is refused");
        }
    }

    fn keep_ring(&mut self, ring: Keyring) {
        let Some(thread) = &self.keyring else {
            let node = self.shared.name.as_str();
            tracing::warn!(node, "the gossip keyring changed and has no file: a restart begins with the former key");
            return self.echoes.push_back(Input::RingKept(Ok(())));
        };
        if !thread.keep(ring) {
            self.echoes.push_back(Input::RingKept(Err("the thread that writes the keyring file has ended".into())));
        }
    }

    fn tell(&mut self, event: Event) {
        self.failover_watch.tell(self.clock.now(), self.shared.name.as_str(), &event, &self.shared.meters);
        match &event {
            Event::Committed { index, bytes } => self.application.apply(*index, bytes),
            Event::RequestDone { id, outcome } => {
                if let Some(asker) = self.askers.remove(id) {
                    let outcome: Outcome = outcome.clone();
                    answer(&asker, Ok(outcome));
                }
            }
            Event::Left => self.stop(self.clock.now(), StopReason::Left),
            Event::Refused(refusal) => self.stop(self.clock.now(), StopReason::Refused(refusal.clone())),
            _ => {}
        }
        self.shared.bus.publish(event);
    }
}

fn closing(output: &Output) -> Option<(LogIndex, &[ShardId])> {
    match output {
        Output::Drain { change, shards } => Some((*change, shards)),
        _ => None,
    }
}

fn freezing(output: &Output) -> Option<LogIndex> {
    match output {
        Output::Freeze { change, .. } => Some(*change),
        _ => None,
    }
}
