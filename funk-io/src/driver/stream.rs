//! One stream: cutting messages, and a bounded queue of bytes to write. `opening` tells how it comes about.

mod opening;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use funk_proto::id::ConnId;
use funk_proto::time::earliest;
use funk_proto::{CloseReason, Input, StreamKind, Timestamp, limits};
use futures_io::{AsyncRead, AsyncWrite};
use socket2::SockRef;

use super::decoder::{Begun, Decoder};
use super::hub::{Hub, Source};
use super::queue::Queue;
use super::quic::{self, Link, Opened, Quic};
use super::socket::{failure, set_options};
use super::tls::failure::Failure;
use super::tls::session::Session;
use super::tls::shaking::Shaking;
use super::tls::trust::Trust;
use crate::limits::HANDSHAKE_TIMEOUT;
use crate::runtime::Runtime;

/// Reads of one stream in one pass; with the scratch buffer's size, how much a
/// peer that sends without end can take of the driver's time.
const PASS_READS_MAX: usize = 16;

type Dialling<S> = Pin<Box<dyn Future<Output = io::Result<S>> + Send>>;

enum Transport<S> {
    Dialling(Dialling<S>),
    /// By QUIC, with its handshake.
    DiallingQuic(quic::Dialling),
    Quic(Box<Link>),
    Shaking(S, Box<Shaking>),
    Plain(S),
    Sealed(S, Box<Session>),
    /// It has ended, or is about to become something else.
    Over,
}

pub(super) struct Stream<R: Runtime> {
    conn: ConnId,
    pub(super) channel: StreamKind,
    /// The other side's.
    pub(super) address: SocketAddr,
    transport: Transport<R::Stream>,
    decoder: Decoder,
    queue: Queue,
    source: Arc<Source>,
    waker: Waker,
    /// When it is closed as timed out, unless something lifts that before.
    deadline: Option<Timestamp>,
    begun: Begun,
    /// Why it has ended, if that was TLS.
    failure: Option<Failure>,
    /// Whether the core knows of it.
    pub(super) announced: bool,
    /// To be closed when the queue is empty.
    finishing: bool,
    /// The socket took no more; it wakes us when it does.
    blocked: bool,
}

/// What is handed in, and how much of it still in this pass.
struct Delivery<'a, F: FnMut(Input) -> bool> {
    deliver: &'a mut F,
    budget: usize,
}

impl<F: FnMut(Input) -> bool> Delivery<'_, F> {
    fn hand_in(&mut self, input: Input) {
        self.budget = self.budget.saturating_sub(1);
        if !(self.deliver)(input) {
            self.budget = 0;
        }
    }
}

impl<R: Runtime> Stream<R> {
    pub(super) fn dial(
        conn: ConnId,
        channel: StreamKind,
        to: SocketAddr,
        now: Timestamp,
        hub: &Arc<Hub>,
        quic: Option<&Quic>,
    ) -> Self {
        let (transport, time) = match quic {
            Some(quic) => (Transport::DiallingQuic(quic.dial(to)), HANDSHAKE_TIMEOUT),
            None => (Transport::Dialling(Box::pin(R::connect(to))), limits::DIAL_TIMEOUT),
        };
        Self::new(conn, channel, to, transport, now + time, hub)
    }

    /// Somebody dialled by QUIC, and its handshake is over.
    pub(super) fn opened(
        conn: ConnId,
        address: SocketAddr,
        opened: Opened,
        now: Timestamp,
        hub: &Arc<Hub>,
        trust: &Trust,
    ) -> Self {
        let time = limits::DIAL_TIMEOUT;
        let mut stream = Self::new(conn, StreamKind::Cluster, address, Transport::Over, now + time, hub);
        stream.become_linked(opened, trust);
        stream
    }

    pub(super) fn accepted(
        conn: ConnId,
        channel: StreamKind,
        (io, address): (R::Stream, SocketAddr),
        now: Timestamp,
        hub: &Arc<Hub>,
        trust: Option<&Trust>,
    ) -> Self {
        set_options(&io, channel);
        // A cluster stream introduces itself at once; a gossip stream is one exchange.
        let time = match channel {
            StreamKind::Cluster => limits::DIAL_TIMEOUT,
            StreamKind::Gossip => limits::GOSSIP_STREAM_TIMEOUT,
        };
        let mut stream = Self::new(conn, channel, address, Transport::Over, now + time, hub);
        stream.transport = match trust.filter(|_| channel == StreamKind::Cluster) {
            Some(trust) => {
                stream.deadline = Some(now + HANDSHAKE_TIMEOUT);
                Transport::Shaking(io, Box::new(Shaking::accept(address, &stream.waker, trust)))
            }
            None => Transport::Plain(io),
        };
        stream
    }

    fn new(
        conn: ConnId,
        channel: StreamKind,
        address: SocketAddr,
        transport: Transport<R::Stream>,
        deadline: Timestamp,
        hub: &Arc<Hub>,
    ) -> Self {
        let source = Source::new(hub);
        let decoder = match channel {
            StreamKind::Cluster => Decoder::Frames(BytesMut::new()),
            StreamKind::Gossip => Decoder::Gossip(Box::default()),
        };
        Self {
            conn,
            channel,
            address,
            transport,
            decoder,
            queue: Queue::default(),
            waker: Waker::from(Arc::clone(&source)),
            source,
            deadline: Some(deadline),
            begun: Begun::default(),
            failure: None,
            announced: !conn.is_accepted(),
            finishing: false,
            blocked: false,
        }
    }

    /// When it is closed as timed out. A message that was begun has to end.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let begun = match &self.transport {
            Transport::Quic(link) => link.ends(),
            _ => self.begun.ends(),
        };
        earliest(self.deadline, begun)
    }

    /// Bytes here of a message that is not here as a whole.
    pub(super) fn held(&self) -> usize {
        match &self.transport {
            Transport::Quic(link) => link.held(),
            _ => self.decoder.held(),
        }
    }

    /// Whether its handshake is not over.
    pub(super) fn is_shaking(&self) -> bool {
        matches!(self.transport, Transport::Shaking(..))
    }

    /// It ends while its handshake is not over.
    pub(super) fn give_up_shaking(&mut self, why: Failure) {
        if let Transport::Shaking(_, shaking) = &self.transport {
            // Who connects and says nothing may only look whether somebody listens.
            self.failure = Some(why).filter(|_| shaking.has_heard() || !self.conn.is_accepted());
        }
    }

    /// Why it has ended, if that was TLS.
    pub(super) fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// The credentials have changed: whether the other side is believed is asked anew.
    pub(super) fn check_again(&self, trust: &Trust) {
        match &self.transport {
            Transport::Sealed(_, session) => session.check_again(trust),
            Transport::Quic(link) => link.check_again(trust),
            _ => {}
        }
    }

    /// Moves on if it woke the driver: connects, reads, hands in whole messages.
    pub(super) fn receive(
        &mut self,
        now: Timestamp,
        scratch: &mut [u8],
        trust: &mut Option<Trust>,
        deliver: &mut impl FnMut(Input) -> bool,
    ) -> Result<(), CloseReason> {
        if !self.source.take() {
            self.begun.note(now, false, self.decoder.held());
            return Ok(());
        }
        self.retry();
        let budget = crate::limits::PASS_MESSAGES_MAX;
        let mut delivery = Delivery { deliver, budget };
        if self.connect(now, trust)? && self.shake(now, scratch, trust, &mut delivery)? {
            match &self.transport {
                Transport::Quic(_) => self.read_lanes(now, scratch, &mut delivery)?,
                _ => self.read(scratch, &mut delivery)?,
            }
        }
        self.begun.note(now, delivery.budget < budget, self.decoder.held());
        Ok(())
    }

    /// What the other side sent by QUIC.
    fn read_lanes(
        &mut self,
        now: Timestamp,
        scratch: &mut [u8],
        delivery: &mut Delivery<'_, impl FnMut(Input) -> bool>,
    ) -> Result<(), CloseReason> {
        let Self { transport, announced, deadline, conn, channel, waker, failure, .. } = self;
        let Transport::Quic(link) = transport else { return Ok(()) };
        if let Some(peer) = link.take_peer() {
            *announced = true;
            delivery.hand_in(Input::Opened { conn: *conn, peer });
        }
        let received = link.receive(now, &mut Context::from_waker(waker), (scratch, PASS_READS_MAX), |bytes| {
            *deadline = None;
            delivery.hand_in(Input::Message { conn: *conn, channel: *channel, bytes });
            delivery.budget > 0
        });
        let more = received.map_err(|(why, because)| {
            *failure = because;
            why
        })?;
        if more {
            waker.wake_by_ref();
        }
        Ok(())
    }

    /// Takes in what the socket gave. Tells whether the other side has ended in order.
    fn unseal(&mut self, bytes: &[u8]) -> Result<bool, CloseReason> {
        let Self { transport, decoder, .. } = self;
        let Transport::Sealed(_, session) = transport else {
            decoder.push(bytes);
            return Ok(false);
        };
        let opened = session.checked().and_then(|()| session.open(bytes, |plain| decoder.push(plain)));
        opened.map_err(|failure| {
            let is_refused = matches!(failure, Failure::Refused(_));
            self.failure = Some(failure);
            if is_refused { CloseReason::Untrusted } else { CloseReason::Failed }
        })
    }

    fn read(
        &mut self,
        scratch: &mut [u8],
        delivery: &mut Delivery<'_, impl FnMut(Input) -> bool>,
    ) -> Result<(), CloseReason> {
        self.unseal(&[])?;
        self.cut(delivery)?;
        for _ in 0..PASS_READS_MAX {
            // Whole messages are left over: they come first in the next pass.
            if delivery.budget == 0 {
                break;
            }
            let (Transport::Plain(io) | Transport::Sealed(io, _)) = &mut self.transport else { return Ok(()) };
            match Pin::new(io).poll_read(&mut Context::from_waker(&self.waker), scratch) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(CloseReason::Ended),
                Poll::Ready(Ok(length)) => {
                    let ended = self.unseal(&scratch[..length])?;
                    self.cut(delivery)?;
                    if ended && delivery.budget > 0 {
                        return Err(CloseReason::Ended);
                    }
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Err(failure(&error)),
            }
        }
        self.waker.wake_by_ref();
        Ok(())
    }

    fn cut(&mut self, delivery: &mut Delivery<'_, impl FnMut(Input) -> bool>) -> Result<(), CloseReason> {
        while delivery.budget > 0 {
            let Some(bytes) = self.decoder.next()? else { return Ok(()) };
            self.announced = true;
            if self.channel == StreamKind::Cluster {
                self.deadline = None;
            }
            delivery.hand_in(Input::Message { conn: self.conn, channel: self.channel, bytes });
        }
        Ok(())
    }

    /// Queues a message. It leaves with the next [`Stream::flush`], once connected.
    pub(super) fn send(&mut self, bytes: &Bytes) -> Result<(), CloseReason> {
        if self.finishing {
            return Ok(());
        }
        match &mut self.transport {
            Transport::Quic(link) => link.send(bytes),
            _ => self.queue.push(self.channel, bytes),
        }
    }

    /// Ends the stream when all that is queued has left.
    pub(super) fn finish(&mut self) {
        self.finishing = true;
    }

    /// Lets the next flush try the socket, whether or not it woke us.
    pub(super) fn retry(&mut self) {
        self.blocked = false;
        if let Transport::Quic(link) = &mut self.transport {
            link.retry();
        }
    }

    /// Writes as much as the socket takes. Tells whether the stream is done with.
    pub(super) fn flush(&mut self) -> Result<bool, CloseReason> {
        let Self { transport, queue, waker, blocked, finishing, failure: because_of, .. } = self;
        let mut context = Context::from_waker(waker);
        let (io, mut session) = match transport {
            Transport::Plain(io) => (io, None),
            Transport::Sealed(io, session) => (io, Some(session)),
            Transport::Quic(link) => {
                let flushed = link.flush(waker);
                let done = *finishing && link.is_flushed();
                return flushed.map(|()| done).map_err(|(why, because)| {
                    *because_of = because;
                    why
                });
            }
            Transport::Dialling(_) | Transport::DiallingQuic(_) | Transport::Shaking(..) | Transport::Over => {
                return Ok(false);
            }
        };
        while !*blocked {
            let (bytes, is_sealed) = match &mut session {
                Some(session) => (fill(session, queue, *finishing), true),
                None => (queue.bytes(), false),
            };
            if bytes.is_empty() {
                break;
            }
            match Pin::new(&mut *io).poll_write(&mut context, bytes) {
                Poll::Pending => *blocked = true,
                Poll::Ready(Ok(0)) => return Err(CloseReason::Failed),
                Poll::Ready(Ok(length)) => match &mut session {
                    Some(session) if is_sealed => session.written(length),
                    _ => queue.written(length),
                },
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Err(failure(&error)),
            }
        }
        let is_empty = queue.is_empty() && session.is_none_or(|session| session.sealed().is_empty());
        Ok(*finishing && is_empty)
    }

    /// All has been written: the end goes out in order; what the peer still says is not read.
    pub(super) fn end(&mut self) {
        match std::mem::replace(&mut self.transport, Transport::Over) {
            Transport::Plain(io) | Transport::Sealed(io, _) => {
                let _ = SockRef::from(&io).shutdown(std::net::Shutdown::Write);
            }
            Transport::Quic(link) => link.finish(),
            Transport::Dialling(_) | Transport::DiallingQuic(_) | Transport::Shaking(..) | Transport::Over => {}
        }
    }

    /// Whether bytes wait for a connected socket.
    pub(super) fn is_flushed(&self) -> bool {
        match &self.transport {
            Transport::Plain(_) => self.queue.is_empty(),
            Transport::Sealed(_, session) => self.queue.is_empty() && session.sealed().is_empty(),
            Transport::Quic(link) => link.is_flushed(),
            Transport::Dialling(_) | Transport::DiallingQuic(_) | Transport::Shaking(..) | Transport::Over => true,
        }
    }
}

/// What the socket has to take next of a stream with TLS: it is sealed no sooner.
fn fill<'a>(session: &'a mut Session, queue: &mut Queue, finishing: bool) -> &'a [u8] {
    if session.sealed().is_empty() {
        if !queue.is_empty() {
            let taken = session.seal(queue.bytes());
            queue.written(taken);
        } else if finishing {
            session.end();
        }
    }
    session.sealed()
}
