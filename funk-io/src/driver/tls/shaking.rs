//! A stream while its handshake runs: the driver reads and writes, the worker computes.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use funk_proto::PeerIdentity;
use futures_io::{AsyncRead, AsyncWrite};

use super::failure::Failure;
use super::handshake::{Handshake, Shaken, State, whole_records};
use super::session::{Session, identity};
use super::trust::Trust;
use super::worker::{Done, Slot, Whose, Work};

/// The first byte of a handshake, and of an alert.
const HANDSHAKE: u8 = 0x16;
const ALERT: u8 = 0x15;

/// What a stream has become.
pub(crate) enum Progress {
    /// It goes on when the stream is woken.
    Pending,
    /// Who dialled does not speak TLS, and may. These bytes came.
    Plain(BytesMut),
    /// The handshake is over. These bytes came behind it.
    Over(Box<(PeerIdentity, Session, Vec<u8>)>),
}

enum Next {
    /// The first byte tells whether it is TLS.
    Sniff,
    /// The worker has it.
    Wait,
    /// It needs a whole record.
    Go(Handshake),
    /// It is over, when what it says has left.
    Over(Box<Shaken>),
    Failed(Failure),
}

/// A stream while its handshake runs.
pub(crate) struct Shaking {
    address: SocketAddr,
    whose: Whose,
    slot: Arc<Slot>,
    next: Next,
    /// The generation of the credentials that it began with.
    generation: u64,
    received: BytesMut,
    /// Bytes that came so far.
    total: usize,
    send: BytesMut,
}

impl Shaking {
    /// This node dialled.
    pub(crate) fn dial(address: SocketAddr, waker: &Waker, trust: &Trust) -> Self {
        let mut shaking = Self::new(address, Whose::Own, waker, trust);
        shaking.submit(Handshake::Dial(trust.client()), Vec::new(), trust);
        shaking
    }

    /// Somebody dialled.
    pub(crate) fn accept(address: SocketAddr, waker: &Waker, trust: &Trust) -> Self {
        Self::new(address, Whose::From(address.ip()), waker, trust)
    }

    fn new(address: SocketAddr, whose: Whose, waker: &Waker, trust: &Trust) -> Self {
        Self {
            address,
            whose,
            slot: Slot::new(waker.clone()),
            next: Next::Sniff,
            generation: trust.generation(),
            received: BytesMut::new(),
            total: 0,
            send: BytesMut::new(),
        }
    }

    fn submit(&mut self, handshake: Handshake, received: Vec<u8>, trust: &Trust) {
        self.next = Next::Wait;
        trust.worker.submit(self.whose, Work::Step { handshake, received }, &self.slot);
    }

    /// Goes on as far as the socket and the worker allow.
    ///
    /// # Errors
    /// [`Failure`]: there is no TLS here. What is to be said about it has been said, if the socket took it.
    pub(crate) fn go_on<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        context: &mut Context<'_>,
        scratch: &mut [u8],
        trust: &Trust,
    ) -> Result<Progress, Failure> {
        loop {
            self.take_step();
            let written = self.write(io, context);
            match std::mem::replace(&mut self.next, Next::Wait) {
                Next::Failed(failure) => return Err(failure),
                Next::Over(shaken) if self.send.is_empty() => return Ok(self.open(*shaken, trust)),
                other => self.next = other,
            }
            written?;
            if matches!(self.next, Next::Wait | Next::Over(_)) {
                return Ok(Progress::Pending);
            }
            if let Some(progress) = self.use_received(trust)? {
                return Ok(progress);
            }
            if matches!(self.next, Next::Wait) {
                continue;
            }
            match Pin::new(&mut *io).poll_read(context, scratch) {
                Poll::Pending => return Ok(Progress::Pending),
                Poll::Ready(Ok(0)) => return Err(self.ended()),
                Poll::Ready(Ok(length)) => self.take(&scratch[..length])?,
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(_)) => return Err(self.ended()),
            }
        }
    }

    /// What the worker has done.
    fn take_step(&mut self) {
        if let Some(Done::Stepped(stepped)) = self.slot.take() {
            self.send.extend_from_slice(&stepped.send);
            self.next = match stepped.state {
                State::Going(connection) => Next::Go(Handshake::Going(connection)),
                State::Over(shaken) => Next::Over(shaken),
                State::Failed(failure) => Next::Failed(failure),
            };
        }
    }

    fn write<S: AsyncWrite + Unpin>(&mut self, io: &mut S, context: &mut Context<'_>) -> Result<(), Failure> {
        while !self.send.is_empty() {
            match Pin::new(&mut *io).poll_write(context, &self.send) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(length)) if length > 0 => self.send.advance(length),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(_) => return Err(self.ended()),
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let is_first = self.total == 0;
        self.total += bytes.len();
        self.received.extend_from_slice(bytes);
        if is_first && self.whose == Whose::Own && !matches!(bytes.first(), Some(&(HANDSHAKE | ALERT))) {
            return Err(Failure::NotTls);
        }
        if self.total > crate::limits::HANDSHAKE_BYTES_MAX { Err(Failure::Oversized) } else { Ok(()) }
    }

    /// Hands the whole records that are here to the worker.
    fn use_received(&mut self, trust: &Trust) -> Result<Option<Progress>, Failure> {
        if self.received.is_empty() {
            return Ok(None);
        }
        if matches!(self.next, Next::Sniff) {
            if self.received[0] != HANDSHAKE {
                let plain = std::mem::take(&mut self.received);
                return if trust.permits_plaintext() {
                    Ok(Some(Progress::Plain(plain)))
                } else {
                    Err(Failure::Plaintext)
                };
            }
            self.next = Next::Go(Handshake::Accept(trust.server()));
        }
        let whole = whole_records(&self.received);
        if whole == 0 {
            return Ok(None);
        }
        match std::mem::replace(&mut self.next, Next::Wait) {
            Next::Go(handshake) => {
                let records = self.received.split_to(whole).to_vec();
                self.submit(handshake, records, trust);
            }
            other => self.next = other,
        }
        Ok(None)
    }

    fn open(&mut self, mut shaken: Shaken, trust: &Trust) -> Progress {
        shaken.rest.extend_from_slice(&self.received);
        let peer = identity(&shaken, self.address);
        let (session, rest) = Session::new(shaken, Arc::clone(&self.slot));
        if self.generation != trust.generation() {
            session.check_again(trust);
        }
        Progress::Over(Box::new((peer, session, rest)))
    }

    /// The other side is gone. One that was dialled and said nothing does not speak TLS, as far as one can tell.
    fn ended(&self) -> Failure {
        if self.whose == Whose::Own && self.total == 0 { Failure::NotTls } else { Failure::Ended }
    }

    /// Whether the other side has said anything.
    pub(crate) fn has_heard(&self) -> bool {
        self.total > 0
    }
}
