//! Streams: in order, whole, and gone when a process is. What is sent over a
//! cut link waits until the link is mended, as a kernel would send it again.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use funk_proto::id::ConnId;
use funk_proto::{CloseReason, Input, PeerIdentity, StreamKind, Timestamp, limits};

use super::World;
use crate::happening::Happening;
use crate::host::End;
use crate::story::Topic;

/// A kernel that gets no answer for so long gives a connection up.
const GIVE_UP: Duration = Duration::from_secs(15);

impl World {
    pub(super) fn dial(&mut self, at: usize, conn: ConnId, to: SocketAddr, channel: StreamKind) {
        let peer = self.host_at(to);
        self.tell(Some(at), Topic::Stream, || format!("dials {to} for {channel:?} as {conn}"));
        let (generation, refused) = (self.hosts[at].generation, CloseReason::Refused);
        let fail = |why| Happening::Closed { to: at, generation, conn, why };
        let silent = fail(CloseReason::TimedOut);
        let Some(peer) = peer else {
            self.queue.push(self.now + limits::DIAL_TIMEOUT, silent);
            return;
        };
        let delay = self.network.delay(self.now, at, peer, &mut self.rng);
        let rejects = self.network.link(at, peer).rejects > 0 || self.network.link(peer, at).rejects > 0;
        let open = self.network.is_open(at, peer) && self.network.is_open(peer, at);
        if !rejects && !open {
            self.queue.push(self.now + limits::DIAL_TIMEOUT, silent);
            return;
        }
        if rejects || self.hosts[peer].node.is_none() || !self.hosts[peer].listening {
            self.queue.push(self.now + delay, fail(refused));
            return;
        }
        self.hosts[peer].accepted += 1;
        let accepted = ConnId::accepted(self.hosts[peer].accepted);
        self.connect(at, conn, peer, accepted, channel);
        self.connect(peer, accepted, at, conn, channel);
    }

    fn connect(&mut self, at: usize, here: ConnId, peer: usize, conn: ConnId, channel: StreamKind) {
        let (last, held_since) = (self.now, self.now);
        let generation = self.hosts[peer].generation;
        let (held, dead, greeted, opened) = (Vec::new(), false, false, false);
        let end = End { peer, generation, conn, channel, last, held, held_since, dead, greeted, opened };
        self.hosts[at].streams.insert(here, end);
    }

    /// The first message comes behind the certificate.
    pub(super) fn show_certificate(&mut self, to: usize, conn: ConnId) {
        let certified = self.certified;
        let own = self.hosts[to].generation;
        let Some(end) = self.hosts[to].streams.get_mut(&conn).filter(|end| certified && !end.opened) else { return };
        if end.channel != StreamKind::Cluster {
            return;
        }
        end.opened = true;
        let (at, far_generation, far) = (end.peer, end.generation, end.conn);
        // Of both ends alike: the number of the stream where it was accepted.
        let (host, generation, number) = if conn.is_accepted() { (to, own, conn) } else { (at, far_generation, far) };
        let mut exporter = [0; 32];
        let told = format!("{host} {generation} {number}");
        exporter[..told.len()].copy_from_slice(told.as_bytes());
        let peer = &self.hosts[at].config;
        let name = if at == to { "mallory".parse().expect("a legal name") } else { peer.name.clone() };
        let peer = PeerIdentity { cluster: peer.cluster.clone(), name, exporter, address: peer.raft };
        self.feed(to, Input::Opened { conn, peer });
    }

    /// The other end of a stream, if it is there: a new process of that host numbers its streams anew.
    pub(super) fn far(&mut self, end: &End) -> Option<&mut End> {
        let peer = &mut self.hosts[end.peer];
        if peer.generation == end.generation { peer.streams.get_mut(&end.conn) } else { None }
    }

    pub(super) fn send(&mut self, at: usize, conn: ConnId, bytes: Bytes) {
        let now = self.now;
        let Some(end) = self.hosts[at].streams.get_mut(&conn) else { return };
        let peer = end.peer;
        if !self.network.is_open(at, peer) {
            if end.held.is_empty() {
                end.held_since = now;
                let generation = self.hosts[at].generation;
                self.queue.push(now + GIVE_UP, Happening::GiveUp { to: at, generation, conn, since: now });
            }
            if let Some(end) = self.hosts[at].streams.get_mut(&conn) {
                end.held.push(bytes);
            }
            return;
        }
        let delay = self.network.stream_delay(now, at, peer, &mut self.rng);
        end.last = end.last.max(now + delay);
        let (when, far, channel, dead) = (end.last, end.conn, end.channel, end.dead);
        let far_generation = end.generation;
        if dead || self.hosts[peer].generation != far_generation {
            let generation = self.hosts[at].generation;
            let why = CloseReason::Reset;
            self.queue.push(when, Happening::Closed { to: at, generation, conn, why });
            return;
        }
        self.queue.push(when, Happening::Stream { to: peer, generation: far_generation, conn: far, channel, bytes });
    }

    /// What was held since then could not be sent all the while.
    pub(super) fn give_up(&mut self, at: usize, conn: ConnId, since: Timestamp) {
        let held = |end: &&End| !end.held.is_empty() && end.held_since == since;
        if self.hosts[at].streams.get(&conn).filter(held).is_none() {
            return;
        }
        let Some(end) = self.hosts[at].streams.remove(&conn) else { return };
        if let Some(far) = self.far(&end) {
            far.dead = true;
        }
        let (generation, why) = (self.hosts[at].generation, CloseReason::TimedOut);
        self.queue.push(self.now, Happening::Closed { to: at, generation, conn, why });
    }

    /// Ends a stream after what was sent on it.
    pub(super) fn hang_up(&mut self, at: usize, conn: ConnId) {
        let Some(end) = self.hosts[at].streams.remove(&conn) else { return };
        let open = self.network.is_open(at, end.peer) && end.held.is_empty();
        let (peer, generation) = (end.peer, end.generation);
        let Some(far) = self.far(&end) else { return };
        if open {
            let when = end.last.max(self.now);
            let why = CloseReason::Ended;
            self.queue.push(when, Happening::Closed { to: peer, generation, conn: end.conn, why });
        } else {
            far.dead = true;
        }
    }

    /// A process is gone. With `loud`, its kernel resets the streams where it can.
    pub(super) fn reset_all(&mut self, at: usize, loud: bool) {
        for end in std::mem::take(&mut self.hosts[at].streams).into_values() {
            let peer = end.peer;
            let open = loud && self.network.is_open(at, peer);
            let Some(far) = self.far(&end) else { continue };
            far.dead = true;
            if open {
                let delay = self.network.delay(self.now, at, peer, &mut self.rng);
                let (generation, why) = (end.generation, CloseReason::Reset);
                let closed = Happening::Closed { to: peer, generation, conn: end.conn, why };
                self.queue.push(self.now + delay, closed);
            }
        }
    }

    /// Resets all streams of a process that lives on, at both ends.
    pub fn break_streams(&mut self, at: usize) {
        let conns: Vec<ConnId> = self.hosts[at].streams.keys().copied().collect();
        self.tell(Some(at), Topic::Stream, || "all streams are reset".into());
        self.reset_all(at, true);
        let (generation, why) = (self.hosts[at].generation, CloseReason::Reset);
        for conn in conns {
            let soon = self.now + Duration::from_micros(50);
            self.queue.push(soon, Happening::Closed { to: at, generation, conn, why });
        }
    }

    /// To be called when links were mended: what waited for them is sent.
    pub fn flush_streams(&mut self) {
        for at in 0..self.hosts.len() {
            let network = &self.network;
            let waiting = |end: &End| network.is_open(at, end.peer) && (!end.held.is_empty() || end.dead);
            let streams = &self.hosts[at].streams;
            let ready: Vec<ConnId> = streams.iter().filter(|(_, end)| waiting(end)).map(|(&conn, _)| conn).collect();
            for conn in ready {
                self.flush_stream(at, conn);
            }
        }
    }

    fn flush_stream(&mut self, at: usize, conn: ConnId) {
        let pause = self.takes(Duration::from_millis(1), Duration::from_millis(400));
        let resume = self.now + pause;
        let Some(end) = self.hosts[at].streams.get_mut(&conn) else { return };
        end.last = end.last.max(resume);
        let (held, dead, when) = (std::mem::take(&mut end.held), end.dead, end.last);
        if dead {
            let (generation, why) = (self.hosts[at].generation, CloseReason::Reset);
            self.queue.push(when, Happening::Closed { to: at, generation, conn, why });
            return;
        }
        for bytes in held {
            self.send(at, conn, bytes);
        }
    }

    /// A host says this on a stream that stands between it and another, whatever its node thinks. False without such a stream.
    pub fn say_as(&mut self, from: usize, to: usize, bytes: Bytes) -> bool {
        let (sender, receiver) = (&self.hosts[from], &self.hosts[to]);
        let stands = |end: &&End| {
            let far = receiver.streams.get(&end.conn);
            let is_met = end.greeted && far.is_some_and(|far| far.greeted);
            end.peer == to && end.generation == receiver.generation && end.channel == StreamKind::Cluster && is_met
        };
        let stream = sender.streams.values().find(stands).map(|end| end.conn);
        let Some(conn) = stream.filter(|_| sender.runs() && receiver.runs() && self.network.is_open(from, to)) else {
            return false;
        };
        self.tally.injected += 1;
        self.tell(Some(to), Topic::Stream, || format!("n{from} says on {conn} what is not its to say"));
        self.feed(to, Input::Message { conn, channel: StreamKind::Cluster, bytes });
        true
    }

    /// A stranger opens a stream to a host and says this.
    pub fn inject_message(&mut self, to: usize, channel: StreamKind, bytes: Bytes) {
        self.inject_messages(to, channel, vec![bytes]);
    }

    /// The same, with more than one message.
    pub fn inject_messages(&mut self, to: usize, channel: StreamKind, messages: Vec<Bytes>) {
        let host = &mut self.hosts[to];
        if host.node.is_none() || !host.listening {
            return;
        }
        self.tally.injected += 1;
        host.accepted += 1;
        let conn = ConnId::accepted(host.accepted);
        let generation = host.generation;
        let length: usize = messages.iter().map(Bytes::len).sum();
        self.tell(Some(to), Topic::Stream, || format!("{length} foreign bytes come in on {conn}"));
        let soon = self.now + Duration::from_micros(50);
        // The stranger is nobody's host: answers to it go nowhere.
        self.connect(to, conn, to, ConnId::dialled(u64::MAX >> 2), channel);
        for bytes in messages {
            self.queue.push(soon, Happening::Stream { to, generation, conn, channel, bytes });
        }
        let why = CloseReason::Ended;
        self.queue.push(soon + Duration::from_millis(5), Happening::Closed { to, generation, conn, why });
    }
}
