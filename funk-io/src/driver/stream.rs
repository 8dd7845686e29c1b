//! One stream: connecting, cutting messages, and a bounded queue of bytes to write.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use funk_proto::id::ConnId;
use funk_proto::time::earliest;
use funk_proto::wire::frame;
use funk_proto::wire::gossip::StreamDecoder;
use funk_proto::{CloseReason, Input, StreamKind, Timestamp, limits};
use futures_io::{AsyncRead, AsyncWrite};
use socket2::{SockRef, TcpKeepalive};

use super::hub::{Hub, Source};
use crate::runtime::Runtime;

/// Reads of one stream in one pass; with the scratch buffer's size, how much a
/// peer that sends without end can take of the driver's time.
const PASS_READS_MAX: usize = 16;
/// Bytes of an empty queue's buffer that are kept for the next message.
const QUEUE_KEPT_BYTES: usize = 256 << 10;

type Dialling<S> = Pin<Box<dyn Future<Output = io::Result<S>> + Send>>;

enum Transport<S> {
    Dialling(Dialling<S>),
    Open(S),
}

enum Decoder {
    Frames(BytesMut),
    Gossip(Box<StreamDecoder>),
}

pub(super) struct Stream<R: Runtime> {
    conn: ConnId,
    pub(super) channel: StreamKind,
    transport: Transport<R::Stream>,
    decoder: Decoder,
    queue: Queue,
    source: Arc<Source>,
    waker: Waker,
    /// When it is closed as timed out, unless something lifts that before.
    deadline: Option<Timestamp>,
    begun: Begun,
    /// Whether the core knows of it.
    pub(super) announced: bool,
    /// To be closed when the queue is empty.
    finishing: bool,
    /// The socket took no more; it wakes us when it does.
    blocked: bool,
}

impl<R: Runtime> Stream<R> {
    pub(super) fn dial(conn: ConnId, channel: StreamKind, to: SocketAddr, now: Timestamp, hub: &Arc<Hub>) -> Self {
        let transport = Transport::Dialling(Box::pin(R::connect(to)));
        Self::new(conn, channel, transport, now + limits::DIAL_TIMEOUT, hub)
    }

    pub(super) fn accepted(conn: ConnId, channel: StreamKind, io: R::Stream, now: Timestamp, hub: &Arc<Hub>) -> Self {
        set_options(&io, channel);
        // A cluster stream introduces itself at once; a gossip stream is one exchange.
        let time = match channel {
            StreamKind::Cluster => limits::DIAL_TIMEOUT,
            StreamKind::Gossip => limits::GOSSIP_STREAM_TIMEOUT,
        };
        Self::new(conn, channel, Transport::Open(io), now + time, hub)
    }

    fn new(
        conn: ConnId,
        channel: StreamKind,
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
            transport,
            decoder,
            queue: Queue::default(),
            waker: Waker::from(Arc::clone(&source)),
            source,
            deadline: Some(deadline),
            begun: Begun::default(),
            announced: !conn.is_accepted(),
            finishing: false,
            blocked: false,
        }
    }

    /// When it is closed as timed out. A message that was begun has to end.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        earliest(self.deadline, self.begun.ends())
    }

    /// Bytes here of a message that is not here as a whole.
    pub(super) fn held(&self) -> usize {
        self.decoder.held()
    }

    /// Moves on if it woke the driver: connects, reads, hands in whole messages.
    pub(super) fn receive(
        &mut self,
        now: Timestamp,
        scratch: &mut [u8],
        deliver: &mut impl FnMut(Input) -> bool,
    ) -> Result<(), CloseReason> {
        let cut = self.read(now, scratch, deliver)?;
        self.begun.note(now, cut, self.held());
        Ok(())
    }

    /// Tells whether a message was whole.
    fn read(
        &mut self,
        now: Timestamp,
        scratch: &mut [u8],
        deliver: &mut impl FnMut(Input) -> bool,
    ) -> Result<bool, CloseReason> {
        if !self.source.take() {
            return Ok(false);
        }
        self.blocked = false;
        if let Transport::Dialling(dialling) = &mut self.transport {
            match dialling.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(error)) => return Err(dial_failure(&error)),
                Poll::Ready(Ok(io)) => {
                    set_options(&io, self.channel);
                    self.transport = Transport::Open(io);
                    let whole = now + limits::GOSSIP_STREAM_TIMEOUT;
                    self.deadline = (self.channel == StreamKind::Gossip).then_some(whole);
                }
            }
        }
        let mut budget = crate::limits::PASS_MESSAGES_MAX;
        let cut = |budget| budget < crate::limits::PASS_MESSAGES_MAX;
        self.cut(&mut budget, deliver)?;
        for _ in 0..PASS_READS_MAX {
            // Whole messages are left over: they come first in the next pass.
            if budget == 0 {
                break;
            }
            let Transport::Open(io) = &mut self.transport else { return Ok(cut(budget)) };
            match Pin::new(io).poll_read(&mut Context::from_waker(&self.waker), scratch) {
                Poll::Pending => return Ok(cut(budget)),
                Poll::Ready(Ok(0)) => return Err(CloseReason::Ended),
                Poll::Ready(Ok(length)) => self.decoder.push(&scratch[..length]),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Err(failure(&error)),
            }
            self.cut(&mut budget, deliver)?;
        }
        self.waker.wake_by_ref();
        Ok(cut(budget))
    }

    fn cut(&mut self, budget: &mut usize, deliver: &mut impl FnMut(Input) -> bool) -> Result<(), CloseReason> {
        while *budget > 0 {
            let Some(bytes) = self.decoder.next()? else { return Ok(()) };
            *budget -= 1;
            self.announced = true;
            if self.channel == StreamKind::Cluster {
                self.deadline = None;
            }
            if !deliver(Input::Message { conn: self.conn, channel: self.channel, bytes }) {
                *budget = 0;
            }
        }
        Ok(())
    }

    /// Queues a message. It leaves with the next [`Stream::flush`], once connected.
    pub(super) fn send(&mut self, bytes: &Bytes) -> Result<(), CloseReason> {
        if self.finishing {
            return Ok(());
        }
        self.queue.push(self.channel, bytes)
    }

    /// Ends the stream when all that is queued has left.
    pub(super) fn finish(&mut self) {
        self.finishing = true;
    }

    /// Lets the next flush try the socket, whether or not it woke us.
    pub(super) fn retry(&mut self) {
        self.blocked = false;
    }

    /// Writes as much as the socket takes. Tells whether the stream is done with.
    pub(super) fn flush(&mut self) -> Result<bool, CloseReason> {
        let Transport::Open(io) = &mut self.transport else { return Ok(false) };
        let mut context = Context::from_waker(&self.waker);
        while !self.queue.is_empty() && !self.blocked {
            match Pin::new(&mut *io).poll_write(&mut context, self.queue.bytes()) {
                Poll::Pending => self.blocked = true,
                Poll::Ready(Ok(0)) => return Err(CloseReason::Failed),
                Poll::Ready(Ok(length)) => self.queue.written(length),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Err(failure(&error)),
            }
        }
        let done = self.finishing && self.queue.is_empty();
        if done {
            // The end goes out in order; what the peer still says is not read.
            let _ = SockRef::from(&*io).shutdown(std::net::Shutdown::Write);
        }
        Ok(done)
    }

    /// Whether bytes wait for a connected socket.
    pub(super) fn is_flushed(&self) -> bool {
        self.queue.is_empty() || matches!(self.transport, Transport::Dialling(_))
    }
}

/// Since when a message is here in part.
#[derive(Debug, Default)]
struct Begun(Option<Timestamp>);

impl Begun {
    /// After a read: whether a message was whole, and what is here of the next.
    fn note(&mut self, now: Timestamp, cut: bool, held: usize) {
        if cut || held == 0 {
            self.0 = None;
        }
        if held > 0 {
            self.0.get_or_insert(now);
        }
    }

    /// When it has to be whole.
    fn ends(&self) -> Option<Timestamp> {
        self.0.map(|begun| begun + crate::limits::MESSAGE_END_MAX)
    }
}

impl Decoder {
    fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Frames(buffer) => buffer.extend_from_slice(bytes),
            Self::Gossip(decoder) => decoder.push(bytes),
        }
    }

    fn held(&self) -> usize {
        match self {
            Self::Frames(buffer) => buffer.len(),
            Self::Gossip(decoder) => decoder.held(),
        }
    }

    fn next(&mut self) -> Result<Option<Bytes>, CloseReason> {
        match self {
            Self::Frames(buffer) => frame::decode(buffer).map_err(|_| CloseReason::Malformed),
            Self::Gossip(decoder) => decoder.next().map_err(|_| CloseReason::Malformed),
        }
    }
}

/// Bytes to write, and where each message among them ends.
#[derive(Debug, Default)]
struct Queue {
    bytes: BytesMut,
    /// Ends of the queued messages, in bytes since the stream began.
    ends: VecDeque<u64>,
    written: u64,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn push(&mut self, channel: StreamKind, message: &Bytes) -> Result<(), CloseReason> {
        let full = self.ends.len() >= crate::limits::STREAM_QUEUE_MESSAGES_MAX;
        if full || self.bytes.len() + message.len() > crate::limits::STREAM_QUEUE_BYTES_MAX {
            return Err(CloseReason::Overflow);
        }
        match channel {
            StreamKind::Cluster => frame::encode(message, &mut self.bytes),
            StreamKind::Gossip => self.bytes.extend_from_slice(message),
        }
        self.ends.push_back(self.written + self.bytes.len() as u64);
        Ok(())
    }

    fn written(&mut self, length: usize) {
        self.bytes.advance(length);
        self.written += length as u64;
        while self.ends.front().is_some_and(|end| *end <= self.written) {
            self.ends.pop_front();
        }
        if self.bytes.is_empty() && self.bytes.capacity() > QUEUE_KEPT_BYTES {
            self.bytes = BytesMut::new();
        }
    }
}

/// Small messages leave at once, and a peer whose host is gone, or to which nothing
/// comes through on this stream, is noticed in the end. A socket that cannot is used as it is.
///
/// A stream at rest is probed after two seconds and then every second, so that some probes have to be lost before it is
/// ended: where a user timeout is set, Linux does not count them, but ends a stream that is silent for so long (tcp(7)).
fn set_options<S: std::os::fd::AsFd>(io: &S, channel: StreamKind) {
    let socket = SockRef::from(io);
    let _ = socket.set_tcp_nodelay(true);
    let (rest, interval) = (Duration::from_secs(2), Duration::from_secs(1));
    let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(rest).with_interval(interval).with_retries(3));
    // Probes say nothing while something is under way: that is sent again for a quarter of an hour.
    #[cfg(target_os = "linux")]
    if channel == StreamKind::Cluster {
        let _ = socket.set_tcp_user_timeout(Some(crate::limits::STREAM_STALL_MAX));
    }
}

fn dial_failure(error: &io::Error) -> CloseReason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => CloseReason::Refused,
        io::ErrorKind::TimedOut => CloseReason::TimedOut,
        _ => CloseReason::Failed,
    }
}

fn failure(error: &io::Error) -> CloseReason {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            CloseReason::Reset
        }
        io::ErrorKind::TimedOut => CloseReason::TimedOut,
        _ => CloseReason::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes come, and are cut into messages: how many, and when what is left of the last one has to be whole.
    fn receive(decoder: &mut Decoder, begun: &mut Begun, now: Timestamp, bytes: &[u8]) -> (usize, Option<Timestamp>) {
        decoder.push(bytes);
        let count = std::iter::from_fn(|| decoder.next().unwrap()).count();
        begun.note(now, count > 0, decoder.held());
        (count, begun.ends())
    }

    fn frames() -> (Decoder, Vec<u8>) {
        let mut bytes = BytesMut::new();
        frame::encode(&[7; 40], &mut bytes);
        (Decoder::Frames(BytesMut::new()), bytes.to_vec())
    }

    /// A user message of Serf, of 40 bytes.
    fn gossip() -> (Decoder, Vec<u8>) {
        let head = [&[8, 0x81, 0xaa], &b"UserMsgLen"[..], &[40]].concat();
        (Decoder::Gossip(Box::default()), [&head[..], &[7; 40]].concat())
    }

    #[test]
    fn a_message_has_its_time_from_its_first_byte_however_slowly_the_others_come() {
        for (mut decoder, message) in [frames(), gossip()] {
            let (mut begun, first) = (Begun::default(), Timestamp::from_millis(5));
            let ends = Some(first + crate::limits::MESSAGE_END_MAX);
            let mut now = first;
            let (last, rest) = message.split_last().unwrap();
            for byte in rest {
                assert_eq!(receive(&mut decoder, &mut begun, now, &[*byte]), (0, ends));
                now = now + Duration::from_millis(200);
            }
            assert_eq!(receive(&mut decoder, &mut begun, now, &[]), (0, ends), "nor does silence give it more");
            assert_eq!(receive(&mut decoder, &mut begun, now, &[*last]), (1, None));
        }
    }

    #[test]
    fn what_is_begun_behind_whole_messages_has_a_time_of_its_own() {
        let ((mut decoder, message), mut begun) = (frames(), Begun::default());
        let at = Timestamp::from_millis;
        let ends = |ms| Some(at(ms) + crate::limits::MESSAGE_END_MAX);
        assert_eq!(receive(&mut decoder, &mut begun, at(1), &message[..9]), (0, ends(1)));
        let more = [&message[9..], &message[..], &message[..3]].concat();
        assert_eq!(receive(&mut decoder, &mut begun, at(900), &more), (2, ends(900)));
        assert_eq!(receive(&mut decoder, &mut begun, at(1_000), &message[3..]), (1, None));
        assert_eq!(receive(&mut decoder, &mut begun, at(2_000), &message), (1, None));
    }

    #[test]
    fn the_queue_is_bounded_by_messages_that_wait_not_by_all_that_ever_were() {
        let mut queue = Queue::default();
        let message = Bytes::from_static(b"x");
        for _ in 0..3 * crate::limits::STREAM_QUEUE_MESSAGES_MAX {
            queue.push(StreamKind::Cluster, &message).unwrap();
            queue.push(StreamKind::Cluster, &message).unwrap();
            queue.written(queue.bytes().len() - 1);
            queue.written(1);
        }
        for _ in 0..crate::limits::STREAM_QUEUE_MESSAGES_MAX {
            queue.push(StreamKind::Gossip, &message).unwrap();
        }
        assert_eq!(queue.push(StreamKind::Gossip, &message), Err(CloseReason::Overflow));
        queue.written(1);
        queue.push(StreamKind::Gossip, &message).unwrap();
    }

    #[test]
    fn the_queue_is_bounded_in_bytes() {
        let mut queue = Queue::default();
        let message = Bytes::from(vec![0; limits::FRAME_BYTES_MAX]);
        let whole = crate::limits::STREAM_QUEUE_BYTES_MAX / limits::FRAME_BYTES_MAX;
        for _ in 0..whole - 1 {
            queue.push(StreamKind::Cluster, &message).unwrap();
        }
        let overflows = (0..2).any(|_| queue.push(StreamKind::Cluster, &message).is_err());
        assert!(overflows);
    }
}
