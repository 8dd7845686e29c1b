//! How a stream comes about: it connects, and its handshake runs.

use std::pin::Pin;
use std::task::{Context, Poll};

use funk_proto::{CloseReason, Input, PeerIdentity, StreamKind, Timestamp, limits};

use super::{Delivery, Stream, Transport};
use crate::driver::quic::{Link, Opened};
use crate::driver::socket::{dial_failure, set_options};
use crate::driver::tls::failure::Failure;
use crate::driver::tls::session::Session;
use crate::driver::tls::shaking::{Progress, Shaking};
use crate::driver::tls::trust::Trust;
use crate::limits::HANDSHAKE_TIMEOUT;
use crate::runtime::Runtime;

impl<R: Runtime> Stream<R> {
    pub(super) fn become_linked(&mut self, opened: Opened, trust: &Trust) {
        trust.note_open();
        let link = Link::new(opened, self.address, std::mem::take(&mut self.queue), &self.waker, trust);
        self.transport = Transport::Quic(Box::new(link));
    }

    /// Tells whether the socket is connected.
    pub(super) fn connect(&mut self, now: Timestamp, trust: &Option<Trust>) -> Result<bool, CloseReason> {
        if let Transport::DiallingQuic(dialling) = &mut self.transport {
            return match Pin::new(dialling).poll(&mut Context::from_waker(&self.waker)) {
                Poll::Pending => Ok(false),
                Poll::Ready(opened) => self.connected(opened, trust.as_ref()).map(|()| true),
            };
        }
        let Transport::Dialling(dialling) = &mut self.transport else { return Ok(true) };
        let io = match dialling.as_mut().poll(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(error)) => {
                self.failure = None;
                return Err(dial_failure(&error));
            }
            Poll::Ready(Ok(io)) => io,
        };
        set_options(&io, self.channel);
        let is_cluster = self.channel == StreamKind::Cluster;
        match trust.as_ref().filter(|_| is_cluster && !matches!(self.failure, Some(Failure::NotTls))) {
            Some(trust) => {
                self.deadline = Some(now + HANDSHAKE_TIMEOUT);
                let shaking = Shaking::dial(self.address, &self.waker, trust);
                self.transport = Transport::Shaking(io, Box::new(shaking));
            }
            None => {
                self.failure = None;
                self.transport = Transport::Plain(io);
                self.deadline = (!is_cluster).then_some(now + limits::GOSSIP_STREAM_TIMEOUT);
            }
        }
        Ok(true)
    }

    /// By QUIC, or not.
    fn connected(&mut self, opened: Result<Box<Opened>, Failure>, trust: Option<&Trust>) -> Result<(), CloseReason> {
        match (opened, trust) {
            (Ok(opened), Some(trust)) => {
                self.become_linked(*opened, trust);
                self.deadline = None;
                Ok(())
            }
            // Nobody is there, as far as one can tell: no peer that is refused.
            (Err(Failure::TimedOut), _) => Err(CloseReason::TimedOut),
            (Err(failure), _) => {
                self.failure = Some(failure);
                Err(CloseReason::Failed)
            }
            (_, None) => Err(CloseReason::Failed),
        }
    }

    /// Tells whether there are messages on the stream: its handshake is over, or it has none.
    pub(super) fn shake(
        &mut self,
        now: Timestamp,
        scratch: &mut [u8],
        trust: &mut Option<Trust>,
        delivery: &mut Delivery<'_, impl FnMut(Input) -> bool>,
    ) -> Result<bool, CloseReason> {
        let Transport::Shaking(io, shaking) = &mut self.transport else { return Ok(true) };
        let Some(trust) = trust else { return Err(CloseReason::Failed) };
        let mut context = Context::from_waker(&self.waker);
        match shaking.go_on(io, &mut context, scratch, trust) {
            Ok(Progress::Pending) => return Ok(false),
            Ok(Progress::Plain(bytes)) => {
                trust.note_plaintext(self.address);
                self.decoder.push(&bytes);
                self.become_open(now, None);
            }
            Ok(Progress::Over(over)) => {
                let (peer, session, rest) = *over;
                trust.note_open();
                self.become_open(now, Some(session));
                self.announce(peer, delivery);
                self.unseal(&rest)?;
            }
            Err(Failure::NotTls) if trust.permits_plaintext() && !self.conn.is_accepted() => {
                trust.note_plaintext(self.address);
                self.failure = Some(Failure::NotTls);
                self.transport = Transport::Dialling(Box::pin(R::connect(self.address)));
                self.deadline = Some(now + limits::DIAL_TIMEOUT);
                self.waker.wake_by_ref();
                return Ok(false);
            }
            Err(failure) => {
                self.give_up_shaking(failure);
                return Err(CloseReason::Failed);
            }
        }
        Ok(true)
    }

    fn become_open(&mut self, now: Timestamp, session: Option<Session>) {
        if let Transport::Shaking(io, _) = std::mem::replace(&mut self.transport, Transport::Over) {
            self.transport = match session {
                Some(session) => Transport::Sealed(io, Box::new(session)),
                None => Transport::Plain(io),
            };
        }
        // Who was let in introduces itself at once. What this node dialled, the core looks after.
        self.deadline = self.conn.is_accepted().then_some(now + limits::DIAL_TIMEOUT);
    }

    fn announce(&mut self, peer: PeerIdentity, delivery: &mut Delivery<'_, impl FnMut(Input) -> bool>) {
        self.announced = true;
        delivery.hand_in(Input::Opened { conn: self.conn, peer });
    }
}
