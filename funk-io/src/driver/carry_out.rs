//! What is done with each output of the node, and what follows from it in the same pass.

use funk_proto::id::{LogIndex, ShardId};
use funk_proto::{Event, Input, Outcome, Output};

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
        for output in &mut outputs {
            if let Some(service) = &mut self.service {
                stuck |= service.tell(output).is_err();
            } else if let Output::StateReceived { shard, epoch, state } = output {
                self.shared.gate.keep_state(*shard, *epoch, std::mem::take(state));
            }
        }
        if stuck {
            // What follows from what it never heard must not happen.
            return self.stop(self.clock.now(), StopReason::ServiceStuck);
        }
        let closing: Vec<_> = outputs.iter().filter_map(closing).collect();
        let node = &self.node;
        let now = self.clock.now();
        self.publisher.publish(now, node.route_version(), || node.routes(), node.lease_until(), &closing);
        self.lease_watch.look(now, node.lease_until(), &self.shared.meters);
        drop(closing);
        self.shared.words.publish(node.last_words_version(), || node.last_words());
        self.shared.board.publish(node.endpoints_version(), || node.endpoints());
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
            // It was told, and answers in its own time.
            Output::StateWanted { .. } | Output::SnapshotWanted { .. } if self.service.is_some() => {}
            Output::StateWanted { change, shards } => {
                shards.into_iter().for_each(|shard| self.want_state(change, shard));
            }
            // It was kept before the table that makes the shard this node's was published.
            Output::StateReceived { .. } => {}
            Output::SnapshotWanted { index } => {
                // All commits up to the index were told before this.
                let state = self.state_machine.as_mut().map(|machine| machine.snapshot()).unwrap_or_default();
                self.echoes.push_back(Input::SnapshotTaken { index, state });
            }
            Output::SnapshotInstalled { index, state } => {
                if let Some(machine) = &mut self.state_machine {
                    machine.restore(index, &state);
                }
            }
            Output::Event(event) => self.tell(event),
        }
    }

    /// What nobody took since it came goes on as it is; else the application is asked.
    fn want_state(&mut self, change: LogIndex, shard: ShardId) {
        let state = self.shared.gate.untaken_state(shard);
        let asked = state.is_none() && self.hand_over.as_ref().is_some_and(|asker| asker.ask(change, shard));
        if !asked {
            self.echoes.push_back(Input::StateGiven { change, shard, state });
        }
    }

    fn tell(&mut self, event: Event) {
        self.failover_watch.tell(self.clock.now(), self.shared.name.as_str(), &event, &self.shared.meters);
        match &event {
            Event::Committed { index, bytes } => {
                if let Some(machine) = &mut self.state_machine {
                    machine.apply(*index, bytes);
                }
            }
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
