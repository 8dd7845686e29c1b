//! What is done with each output of a node.

use std::hash::Hasher;
use std::time::Duration;

use bytes::Bytes;
use funk_proto::id::{ConnId, LogIndex, ShardId};
use funk_proto::service::ServiceInput;
use funk_proto::wire::cluster::Frame;
use funk_proto::{DatagramSocket, Event, Input, Node, Outcome, Output, Persist, StreamKind, Timestamp};

use super::World;
use crate::disk::Flush;
use crate::happening::Happening;
use crate::host::Facts;
use crate::story::Topic;

/// Messages kept for those who forge.
const SAMPLES_MAX: usize = 32;

impl World {
    /// Does all that a host's node says, then looks at what the step changed.
    pub(super) fn drain(&mut self, at: usize) {
        self.note_cluster(at);
        while let Some(output) = self.hosts[at].node.as_mut().and_then(Node::poll_output) {
            self.execute(at, output);
        }
        if let Some(before) = self.hosts[at].refresh() {
            self.note_change(at, before.as_ref());
            self.check(Some(at), |checker, scene| checker.on_change(scene, at, before.as_ref()));
        }
        self.draw(at);
        self.set_alarm(at);
    }

    fn note_change(&mut self, at: usize, before: Option<&Facts>) {
        let Some(after) = self.hosts[at].facts else { return };
        let role = before.map(|facts| (facts.role, facts.term));
        if role == Some((after.role, after.term)) {
            return;
        }
        self.tally.role(after.role);
        if role.is_none_or(|(role, _)| role != after.role) && after.role == funk_proto::consensus::RaftRole::Leader {
            self.tally.leader_changes += 1;
        }
        self.tell(Some(at), Topic::State, || format!("is {:?} in term {}", after.role, after.term));
    }

    fn execute(&mut self, at: usize, output: Output) {
        self.keep(at, &output);
        self.hash.write_u8(u8::try_from(at).unwrap_or(u8::MAX));
        match output {
            Output::Datagram { socket, to, bytes } => {
                self.hash.write(&bytes);
                self.tally.datagram_kind(socket == DatagramSocket::Liveness, &bytes);
                self.send_datagram(at, socket, to, bytes);
            }
            Output::Dial { conn, to, channel } => {
                self.hash.write(conn.to_string().as_bytes());
                self.dial(at, conn, to, channel);
            }
            Output::Message { conn, bytes } => self.message(at, conn, bytes),
            Output::Reply { conn, bytes } => {
                self.message(at, conn, bytes);
                self.hang_up(at, conn);
            }
            Output::Close { conn } => self.hang_up(at, conn),
            Output::Persist(persist) => self.persist(at, persist),
            Output::Drain { change, shards } => self.close_shards(at, change, shards),
            Output::Freeze { change, shards } => self.freeze_guards(at, change, &shards),
            Output::StateWanted { change, shards } => self.serve(at, ServiceInput::StateWanted { change, shards }),
            Output::StateReceived { shard, epoch, state } => {
                self.tally.states_received += 1;
                self.tell(Some(at), Topic::Client, || {
                    format!("gets {} bytes with shard {shard} in {epoch}", state.len())
                });
                self.check(Some(at), |checker, scene| checker.on_state_received(scene, at, shard, epoch, &state));
                self.serve(at, ServiceInput::StateReceived { shard, epoch, state });
            }
            Output::SnapshotWanted { index } => self.serve(at, ServiceInput::SnapshotWanted { index }),
            Output::SnapshotInstalled { index, state } => {
                self.check(Some(at), |checker, scene| checker.on_snapshot(scene, at));
                self.serve(at, ServiceInput::SnapshotInstalled { index, state });
            }
            Output::GossipRefused { .. } => {}
            Output::KeepRing(_) => self.ring_kept(at),
            Output::Event(event) => self.event(at, event),
        }
    }

    fn message(&mut self, at: usize, conn: ConnId, bytes: Bytes) {
        self.hash.write(&bytes);
        self.tally.stream_messages += 1;
        self.keep_sample(&bytes);
        let channel = self.hosts[at].channel(conn);
        if channel == Some(StreamKind::Cluster)
            && let Ok(frame) = Frame::parse(&bytes)
        {
            let kind = crate::tally::frame_kind(&frame);
            self.tally.message_kind(kind);
            self.tell(Some(at), Topic::Stream, || format!("sends {} on {conn}", crate::tally::frame_words(&frame)));
            self.check_any(Some(at), |checker, scene| checker.on_frame(scene, at, &frame));
        }
        let bytes = if channel == Some(StreamKind::Cluster) { self.as_later_version(at, conn, bytes) } else { bytes };
        self.send(at, conn, bytes);
        if let Some(end) = self.hosts[at].streams.get_mut(&conn) {
            end.greeted = true;
        }
    }

    fn keep_sample(&mut self, bytes: &Bytes) {
        let place = usize::try_from(self.tally.stream_messages).unwrap_or(0);
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push(bytes.clone());
        } else if place % 8 == 0 {
            self.samples[place / 8 % SAMPLES_MAX] = bytes.clone();
        }
    }

    fn persist(&mut self, at: usize, persist: Persist) {
        self.hash.write(&persist.record);
        self.tally.writes += 1;
        self.tell(Some(at), Topic::Disk, || format!("writes {} ({} bytes)", persist.token.0, persist.record.len()));
        self.check_any(Some(at), |checker, scene| checker.on_persist(scene, at, &persist));
        let now = self.now;
        let host = &mut self.hosts[at];
        if let Some(end) = host.disk.write(now, persist, &mut self.rng) {
            let generation = host.generation;
            self.queue.push(end, Happening::Flushed { to: at, generation });
        }
    }

    /// A host's disk is as good as new.
    pub(crate) fn heal_disk(&mut self, at: usize) {
        if self.hosts[at].disk.heal(self.now) {
            self.flushed(at);
        }
    }

    pub(super) fn flushed(&mut self, at: usize) {
        let now = self.now;
        let host = &mut self.hosts[at];
        let generation = host.generation;
        let (token, next) = match host.disk.flushed(now, &mut self.rng) {
            Some(Flush::Stable(token, next)) => (token, next),
            Some(Flush::Failed) => return self.fail_disk(at),
            None => return,
        };
        if let Some(end) = next {
            self.queue.push(end, Happening::Flushed { to: at, generation });
        }
        self.tell(Some(at), Topic::Disk, || format!("all up to write {} is stable", token.0));
        self.check_any(Some(at), |checker, scene| checker.on_persisted(scene, at, token));
        self.feed(at, Input::Persisted(token));
    }

    /// No request gets a right to these shards any more; those without any in hand are given back at once.
    fn close_shards(&mut self, at: usize, change: LogIndex, shards: Vec<ShardId>) {
        let host = &mut self.hosts[at];
        let busy = |shard: &ShardId| host.requests.values().any(|held| held.right.is_some() && held.shard == *shard);
        let (waiting, free): (Vec<ShardId>, Vec<ShardId>) = shards.into_iter().partition(busy);
        if !waiting.is_empty() {
            host.drains.push((change, waiting));
        }
        if !free.is_empty() {
            self.drained(at, change, free);
        }
    }

    /// Requests in hand keep the right that they have, and renewals do not extend it any more.
    fn freeze_guards(&mut self, at: usize, change: LogIndex, shards: &[ShardId]) {
        let host = &mut self.hosts[at];
        // What was renewed in this very step was told to nobody yet.
        let told = host.facts.map_or(Timestamp::ZERO, |facts| facts.lease_until);
        let told = host.node.as_ref().map_or(Timestamp::ZERO, |node| node.lease_until().min(told));
        for held in host.requests.values_mut() {
            if held.right.is_some() && shards.binary_search(&held.shard).is_ok() {
                held.frozen.get_or_insert(told);
            }
        }
        self.tally.freezes += 1;
        let delay = self.takes(Duration::from_micros(1), Duration::from_micros(100));
        let (generation, input) = (self.hosts[at].generation, Input::Frozen { change, until: told });
        self.queue.push(self.now + delay, Happening::Local { to: at, generation, input });
    }

    pub(super) fn drained(&mut self, at: usize, change: LogIndex, shards: Vec<ShardId>) {
        let delay = self.takes(Duration::from_micros(1), Duration::from_micros(100));
        let (generation, input) = (self.hosts[at].generation, Input::Drained { change, shards });
        self.queue.push(self.now + delay, Happening::Local { to: at, generation, input });
    }

    fn ring_kept(&mut self, at: usize) {
        let delay = self.takes(Duration::from_micros(100), Duration::from_millis(10));
        let (generation, input) = (self.hosts[at].generation, Input::RingKept(Ok(())));
        self.queue.push(self.now + delay, Happening::Local { to: at, generation, input });
    }

    fn event(&mut self, at: usize, event: Event) {
        self.tell(Some(at), Topic::Event, || crate::tally::event_words(&event));
        match &event {
            Event::State(state) => {
                self.tally.state(*state);
                self.hosts[at].state = Some(*state);
            }
            Event::Moving { shards, .. } => self.tally.moves += u64::from(*shards),
            Event::Left => self.hosts[at].left = true,
            Event::Refused(_) => self.hosts[at].refused = true,
            _ => {}
        }
        self.check(Some(at), |checker, scene| checker.on_event(scene, at, &event));
        if self.keep_events {
            self.hosts[at].events.push(event.clone());
        }
        let input = self.as_proposed(at, &event).unwrap_or(ServiceInput::Node(event));
        self.serve(at, input);
    }

    /// The end of a proposal of the service itself.
    fn as_proposed(&mut self, at: usize, event: &Event) -> Option<ServiceInput> {
        let Event::RequestDone { id, outcome } = event else { return None };
        let tag = self.hosts[at].proposals.remove(id)?;
        if matches!(outcome, Outcome::Committed(_)) {
            self.tally.proposals_committed += 1;
        }
        Some(ServiceInput::Proposed { tag, outcome: outcome.clone() })
    }
}
