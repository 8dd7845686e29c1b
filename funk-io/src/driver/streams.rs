//! All streams of a node, dialled and accepted.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

use bytes::Bytes;
use funk_proto::id::ConnId;
use funk_proto::{CloseReason, Input, StreamKind, Timestamp, limits};

use super::acceptor::Acceptor;
use super::counters::Counters;
use super::hub::Hub;
use super::quic::{Knock, Quic};
use super::stream::Stream;
use super::tls::failure::Failure;
use super::tls::trust::Trust;
use crate::clock::Clock;
use crate::limits::{HANDSHAKES_MAX, HANDSHAKES_OF_SOURCE_MAX};
use crate::runtime::Runtime;

/// Bytes that one read takes at most.
const SCRATCH_BYTES: usize = 64 << 10;

pub(super) struct Streams<R: Runtime> {
    acceptors: [Acceptor<R>; 2],
    streams: BTreeMap<ConnId, Stream<R>>,
    accepted: u64,
    /// Where the next pass begins, when the last one had no time for all.
    resume: Option<ConnId>,
    scratch: Vec<u8>,
    hub: Arc<Hub>,
    clock: Clock,
    counters: Arc<Counters>,
    /// Of cluster streams; without it they have no TLS.
    trust: Option<Trust>,
    /// Over which cluster streams go; without it they go over TCP.
    quic: Option<Quic>,
}

impl<R: Runtime> Streams<R> {
    pub(super) fn new(
        cluster: TcpListener,
        gossip: TcpListener,
        hub: &Arc<Hub>,
        clock: Clock,
        counters: Arc<Counters>,
        (trust, quic): (Option<Trust>, Option<Quic>),
    ) -> io::Result<Self> {
        let acceptors =
            [Acceptor::new(StreamKind::Cluster, cluster, hub)?, Acceptor::new(StreamKind::Gossip, gossip, hub)?];
        let (streams, scratch) = (BTreeMap::new(), vec![0; SCRATCH_BYTES]);
        let hub = Arc::clone(hub);
        Ok(Self { acceptors, streams, accepted: 0, resume: None, scratch, hub, clock, counters, trust, quic })
    }

    /// Where the other side of a stream is.
    pub(super) fn address(&self, conn: ConnId) -> Option<SocketAddr> {
        self.streams.get(&conn).map(|stream| stream.address)
    }

    /// Hands in what those streams hold that woke the driver, until `deliver` wants no more in this pass, and closes
    /// those whose time is over. True if there was no time for all streams: the next pass begins with those.
    pub(super) fn receive(&mut self, now: Timestamp, mut deliver: impl FnMut(Input) -> bool) -> bool {
        self.accept(now);
        self.renew_trust();
        let (first, mut goes_on) = (self.resume.take(), true);
        let Self { streams, scratch, counters, resume, trust, .. } = self;
        streams.retain(|conn, stream| {
            let is_due = goes_on && first.is_none_or(|first| *conn >= first);
            if !goes_on {
                resume.get_or_insert(*conn);
            }
            let mut take = |input| {
                goes_on &= deliver(input);
                goes_on
            };
            let mut ended = if is_due { stream.receive(now, scratch, trust, &mut take) } else { Ok(()) };
            if ended.is_ok() && stream.deadline().is_some_and(|deadline| deadline <= now) {
                ended = Err(CloseReason::TimedOut);
                stream.give_up_shaking(Failure::TimedOut);
            }
            let Err(why) = ended else { return true };
            tell_failure(*conn, stream, trust);
            let announced = stream.announced;
            note_closed(*conn, why, counters);
            if announced {
                deliver(Input::Closed { conn: *conn, why });
            }
            false
        });
        for (channel, most) in [
            (StreamKind::Cluster, crate::limits::CLUSTER_HELD_BYTES_MAX),
            (StreamKind::Gossip, crate::limits::GOSSIP_HELD_BYTES_MAX),
        ] {
            self.make_room(channel, most, &mut deliver);
        }
        !goes_on || first.is_some()
    }

    /// Closes the streams that hold the most of messages which are not here as a whole, until all together hold
    /// no more than `most` bytes.
    fn make_room(&mut self, channel: StreamKind, most: usize, deliver: &mut impl FnMut(Input) -> bool) {
        let of_channel = |(_, stream): &(&ConnId, &Stream<R>)| stream.channel == channel;
        let mut held: usize = self.streams.iter().filter(of_channel).map(|(_, stream)| stream.held()).sum();
        while held > most {
            let largest = self.streams.iter().filter(of_channel).max_by_key(|(_, stream)| stream.held());
            let Some((&conn, stream)) = largest else { return };
            held -= stream.held();
            let announced = stream.announced;
            self.streams.remove(&conn);
            note_closed(conn, CloseReason::Overflow, &self.counters);
            if announced {
                deliver(Input::Closed { conn, why: CloseReason::Overflow });
            }
        }
    }

    fn accept(&mut self, now: Timestamp) {
        let Self { acceptors, streams, accepted, hub, counters, trust, quic, .. } = self;
        let mut guests = Guests { streams, accepted, counters, trust };
        for acceptor in acceptors {
            let channel = acceptor.channel;
            acceptor.receive(|(io, address)| {
                guests.take_in(channel, address, |conn, trust| {
                    Some(Stream::accepted(conn, channel, (io, address), now, hub, trust))
                });
            });
        }
        for knock in quic.as_ref().map(Quic::knocks).unwrap_or_default() {
            match knock {
                Knock::Opened(address, opened) => {
                    guests.take_in(StreamKind::Cluster, address, |conn, trust| {
                        trust.map(|trust| Stream::opened(conn, address, *opened, now, hub, trust))
                    });
                }
                Knock::Refused(address, failure) => {
                    if let Some(trust) = guests.trust.as_mut() {
                        trust.refuse(address, false, &failure);
                    }
                }
            }
        }
    }

    /// Whoever was believed by former credentials is looked at again.
    fn renew_trust(&mut self) {
        if let Some(trust) = &mut self.trust
            && trust.renew()
        {
            self.streams.values().for_each(|stream| stream.check_again(trust));
        }
    }

    pub(super) fn dial(&mut self, conn: ConnId, channel: StreamKind, to: SocketAddr) {
        let quic = self.quic.as_ref().filter(|_| channel == StreamKind::Cluster);
        let stream = Stream::dial(conn, channel, to, self.clock.now(), &self.hub, quic);
        self.streams.insert(conn, stream);
    }

    /// Queues a message; one for a stream that has ended is dropped.
    pub(super) fn send(&mut self, conn: ConnId, bytes: &Bytes, last: bool, echoes: &mut VecDeque<Input>) {
        let Some(stream) = self.streams.get_mut(&conn) else { return };
        match stream.send(bytes) {
            Ok(()) if last => stream.finish(),
            Ok(()) => {}
            Err(why) => self.close_for(conn, why, echoes),
        }
    }

    /// Ends a stream on the core's word.
    pub(super) fn close(&mut self, conn: ConnId) {
        self.streams.remove(&conn);
    }

    /// Lets each stream try its socket again, for a driver that reads no more.
    pub(super) fn retry(&mut self) {
        self.streams.values_mut().for_each(Stream::retry);
    }

    /// Writes what the sockets take. Tells whether nothing is left that could be written.
    pub(super) fn flush(&mut self, echoes: &mut VecDeque<Input>) -> bool {
        let Self { streams, counters, trust, .. } = self;
        let mut all = true;
        streams.retain(|conn, stream| {
            let keep = match stream.flush() {
                Ok(true) => {
                    stream.end();
                    false
                }
                Ok(false) => true,
                Err(why) => {
                    tell_failure(*conn, stream, trust);
                    note_closed(*conn, why, counters);
                    if stream.announced {
                        echoes.push_back(Input::Closed { conn: *conn, why });
                    }
                    false
                }
            };
            all &= !keep || stream.is_flushed();
            keep
        });
        all
    }

    /// The driver ends: what was written leaves all the same.
    pub(super) fn end(&mut self) {
        std::mem::take(&mut self.streams).into_values().for_each(|mut stream| stream.end());
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.streams.values().filter_map(Stream::deadline).min()
    }

    fn close_for(&mut self, conn: ConnId, why: CloseReason, echoes: &mut VecDeque<Input>) {
        self.streams.remove(&conn);
        note_closed(conn, why, &self.counters);
        echoes.push_back(Input::Closed { conn, why });
    }
}

/// Those who dialled.
struct Guests<'a, R: Runtime> {
    streams: &'a mut BTreeMap<ConnId, Stream<R>>,
    accepted: &'a mut u64,
    counters: &'a Counters,
    trust: &'a mut Option<Trust>,
}

impl<R: Runtime> Guests<'_, R> {
    /// Takes one more in, if there is room for it.
    fn take_in(
        &mut self,
        channel: StreamKind,
        address: SocketAddr,
        open: impl FnOnce(ConnId, Option<&Trust>) -> Option<Stream<R>>,
    ) {
        let conn = ConnId::accepted(*self.accepted);
        *self.accepted += 1;
        match who_makes_way(self.streams, channel, address.ip()) {
            Room::Free => {}
            Room::Of(oldest) => {
                self.counters.streams_refused.add_one();
                if let Some(mut oldest) = self.streams.remove(&oldest) {
                    oldest.give_up_shaking(Failure::Crowded);
                    tell_failure(conn, &mut oldest, self.trust);
                }
            }
            Room::None => return self.counters.streams_refused.add_one(),
        }
        self.counters.streams_accepted.add_one();
        self.streams.extend(open(conn, self.trust.as_ref()).map(|stream| (conn, stream)));
    }
}

/// Whether there is room for one more stream.
enum Room {
    Free,
    /// This one makes way.
    Of(ConnId),
    None,
}

/// Whoever has said nothing yet makes way, the first of them first. Of handshakes there are fewer: there it is the first
/// from the same address, or else from the address that has the most.
fn who_makes_way<R: Runtime>(streams: &BTreeMap<ConnId, Stream<R>>, channel: StreamKind, from: IpAddr) -> Room {
    let accepted = || streams.iter().filter(|(conn, open)| conn.is_accepted() && open.channel == channel);
    let mut shaking: BTreeMap<IpAddr, (usize, ConnId)> = BTreeMap::new();
    for (&conn, open) in accepted().filter(|(_, open)| open.is_shaking()) {
        shaking.entry(open.address.ip()).or_insert((0, conn)).0 += 1;
    }
    let of_source = shaking.get(&from).filter(|(count, _)| *count >= HANDSHAKES_OF_SOURCE_MAX);
    let all: usize = shaking.values().map(|(count, _)| count).sum();
    let most = shaking.values().filter(|_| all >= HANDSHAKES_MAX).max_by_key(|(count, _)| *count);
    if let Some((_, oldest)) = of_source.or(most) {
        return Room::Of(*oldest);
    }
    let max = match channel {
        StreamKind::Cluster => limits::CLUSTER_STREAMS_MAX,
        StreamKind::Gossip => crate::limits::GOSSIP_STREAMS_MAX,
    };
    if accepted().count() < max {
        return Room::Free;
    }
    accepted().find(|(_, open)| !open.announced).map_or(Room::None, |(&conn, _)| Room::Of(conn))
}

fn tell_failure<R: Runtime>(conn: ConnId, stream: &mut Stream<R>, trust: &mut Option<Trust>) {
    if let Some((failure, trust)) = stream.take_failure().zip(trust.as_mut()) {
        trust.refuse(stream.address, !conn.is_accepted(), &failure);
    }
}

fn note_closed(conn: ConnId, why: CloseReason, counters: &Counters) {
    match why {
        CloseReason::Malformed => counters.streams_malformed.add_one(),
        CloseReason::Overflow => counters.streams_overflowed.add_one(),
        _ => {}
    }
    tracing::debug!(%conn, ?why, "a stream ended");
}
