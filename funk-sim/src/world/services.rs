//! Services and their clients: a request takes the right to its shard when it
//! comes in, and has its effect only if it still holds that right at the end.

use std::time::Duration;

use bytes::Bytes;
use funk_proto::id::ShardId;
use funk_proto::service::{Right, Service, ServiceInput, ServiceOutput};
use funk_proto::shards::Place;
use funk_proto::{Input, Request, RequestError, RequestId};

use super::World;
use super::processes::draw;
use crate::client::Asked;
use crate::happening::Happening;
use crate::host::InFlight;
use crate::story::Topic;

impl World {
    /// A client asks for a shard through the table of a random node; gives the request's number.
    pub fn ask(&mut self, shard: ShardId, bytes: Bytes) -> Option<u64> {
        let running: Vec<usize> = self.running().into_iter().filter(|&at| !self.hosts[at].foreign).collect();
        if running.is_empty() {
            return None;
        }
        let via = running[draw(&mut self.rng, running.len())];
        let routes = self.hosts[via].node.as_ref()?.routes();
        let to = match routes.place(shard) {
            Place::Here(_) => via,
            Place::There(node, _) => self.host_at(node.endpoints.get("ep.raft").copied()?)?,
            // Try anybody: a client may well hold an older table.
            Place::Pending => running[draw(&mut self.rng, running.len())],
            Place::OutOfRange => return None,
        };
        Some(self.ask_at(to, shard, bytes))
    }

    /// A client asks one node for a shard; gives the request's number.
    pub fn ask_at(&mut self, to: usize, shard: ShardId, bytes: Bytes) -> u64 {
        let asked = Asked { at: self.now, shard, bytes: bytes.clone() };
        let id = self.client.begin(asked);
        self.tell(Some(to), Topic::Client, || format!("request {id} for shard {shard} is on its way"));
        let delay = self.takes(Duration::from_micros(40), Duration::from_micros(400));
        self.queue.push(self.now + delay, Happening::Request { to, id, shard, bytes });
        id
    }

    pub(super) fn take_request(&mut self, to: usize, id: u64, shard: ShardId, bytes: Bytes) {
        if self.hosts[to].node.is_none() || self.hosts[to].foreign {
            self.answer(to, id, None);
            return;
        }
        let right = self.hosts[to].right(self.now, shard);
        self.hosts[to].requests.insert(id, InFlight { shard, right, frozen: None });
        self.serve(to, ServiceInput::Request { request: id, shard, right, bytes });
    }

    /// Hands something to a host's service and does what it says.
    pub(super) fn serve(&mut self, at: usize, input: ServiceInput) {
        let host = &mut self.hosts[at];
        let now = host.clock.local(self.now);
        let Some(mut service) = host.service.take() else {
            // It is at work: an output of its own led to this.
            host.service_inputs.push_back(input);
            return;
        };
        service.handle(input, now);
        self.carry_out(at, service);
    }

    pub(super) fn wake_service(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        host.service_wake_at = None;
        let now = host.clock.local(self.now);
        let Some(mut service) = host.service.take() else { return };
        if service.poll_timeout().is_some_and(|due| due <= now) {
            service.handle(ServiceInput::Timeout, now);
        }
        self.carry_out(at, service);
    }

    fn carry_out(&mut self, at: usize, mut service: Box<dyn Service>) {
        let generation = self.hosts[at].generation;
        loop {
            if let Some(output) = service.poll_output() {
                self.service_output(at, output);
            } else if let Some(input) = self.hosts[at].service_inputs.pop_front() {
                let now = self.hosts[at].clock.local(self.now);
                service.handle(input, now);
            } else {
                break;
            }
        }
        let host = &mut self.hosts[at];
        if host.generation != generation || host.node.is_none() {
            return;
        }
        if let Some(due) = service.poll_timeout() {
            let due = host.clock.true_at(due).max(self.now + Duration::from_micros(1));
            if host.service_wake_at.is_none_or(|wake| due < wake) {
                host.service_wake_at = Some(due);
                let generation = host.generation;
                self.queue.push(due, Happening::ServiceWake { to: at, generation, due });
            }
        }
        host.service = Some(service);
    }

    fn service_output(&mut self, at: usize, output: ServiceOutput) {
        match output {
            ServiceOutput::Answer { request, bytes } => self.answer_under_right(at, request, bytes),
            ServiceOutput::Tell { request, bytes } => {
                self.release(at, request);
                self.answer(at, request, Some(bytes));
            }
            ServiceOutput::Refuse { request } => {
                self.release(at, request);
                self.tally.requests_refused += 1;
                self.answer(at, request, None);
            }
            ServiceOutput::Propose { tag, bytes } => self.propose(at, tag, &bytes),
            ServiceOutput::State { change, shard, state } => {
                self.tally.states_given += u64::from(state.is_some());
                let bytes = state.as_ref().map_or(0, Bytes::len);
                self.tell(Some(at), Topic::Client, || {
                    format!("gives {bytes} bytes of shard {shard} for change {change}")
                });
                self.check(Some(at), |checker, scene| checker.on_state_given(scene, at, change, shard, state.as_ref()));
                let delay = self.takes(Duration::from_micros(50), Duration::from_micros(500));
                let generation = self.hosts[at].generation;
                let input = Input::StateGiven { change, shard, state };
                self.queue.push(self.now + delay, Happening::Local { to: at, generation, input });
            }
            ServiceOutput::Snapshot { index, state } => {
                let delay = self.takes(Duration::from_micros(50), Duration::from_micros(500));
                let generation = self.hosts[at].generation;
                let input = Input::SnapshotTaken { index, state };
                self.queue.push(self.now + delay, Happening::Local { to: at, generation, input });
            }
        }
    }

    fn answer_under_right(&mut self, at: usize, request: u64, bytes: Bytes) {
        let Some(held) = self.hosts[at].requests.get(&request).copied() else { return };
        let epoch = self.hosts[at].holds(self.now, &held);
        if let Some(epoch) = epoch {
            self.tally.requests_served += 1;
            self.tell(Some(at), Topic::Client, || format!("serves {request} for shard {} in {epoch}", held.shard));
            self.check(Some(at), |checker, scene| checker.on_served(scene, at, held.shard, epoch));
        }
        self.release(at, request);
        self.answer(at, request, epoch.map(|_| bytes));
    }

    /// A request leaves a service's hands; with the last of a closed shard the shard is given back.
    fn release(&mut self, at: usize, request: u64) {
        let host = &mut self.hosts[at];
        let Some(held) = host.requests.remove(&request) else { return };
        let shard = held.shard;
        if host.drains.is_empty() || host.requests.values().any(|held| held.right.is_some() && held.shard == shard) {
            return;
        }
        let mut done = Vec::new();
        for (change, shards) in &mut host.drains {
            if let Ok(place) = shards.binary_search(&shard) {
                shards.remove(place);
                done.push(*change);
            }
        }
        host.drains.retain(|(_, shards)| !shards.is_empty());
        for change in done {
            self.drained(at, change, vec![shard]);
        }
    }

    pub(super) fn answer(&mut self, at: usize, id: u64, answer: Option<Bytes>) {
        // A node that strayed into another cluster has other clients.
        let answer = answer.filter(|_| !self.hosts[at].foreign);
        let delay = self.takes(Duration::from_micros(40), Duration::from_micros(400));
        self.queue.push(self.now + delay, Happening::Answer { id, answer });
    }

    pub(super) fn take_answer(&mut self, id: u64, answer: Option<&Bytes>) {
        let Some(asked) = self.client.end(id, answer.is_some()) else { return };
        let Some(answer) = answer else { return };
        self.check(None, |checker, scene| checker.on_answer(scene, asked.shard, &asked.bytes, answer));
    }

    fn propose(&mut self, at: usize, tag: u64, bytes: &Bytes) {
        if let Ok(id) = self.propose_through(at, bytes) {
            self.hosts[at].proposals.insert(id, tag);
        } else {
            let outcome = funk_proto::Outcome::Rejected(RequestError::NoLeader);
            self.serve_later(at, ServiceInput::Proposed { tag, outcome });
        }
    }

    fn serve_later(&mut self, at: usize, input: ServiceInput) {
        // The service is out of its place while its outputs are carried out.
        self.hosts[at].service_inputs.push_back(input);
    }

    /// A client proposes something through a node.
    ///
    /// # Errors
    /// What the node says: nothing of it was done.
    pub fn propose_through(&mut self, at: usize, bytes: &Bytes) -> Result<RequestId, RequestError> {
        let id = self.request(at, Request::Propose(bytes.clone()))?;
        self.tally.proposals += 1;
        self.tell(Some(at), Topic::Client, || format!("proposal {} goes in", id.0));
        self.check(Some(at), |checker, scene| checker.on_propose(scene, at, id, bytes));
        Ok(id)
    }

    /// The right of a host to a shard at present.
    pub fn right(&self, at: usize, shard: ShardId) -> Option<Right> {
        self.hosts[at].right(self.now, shard)
    }
}
