//! An open connection in the driver.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use funk_proto::wire::cluster::Lane;
use funk_proto::{CloseReason, PeerIdentity, Timestamp};
use quinn::{Connection, ConnectionError, RecvStream};

use super::endpoint::{Lingering, Opened, failure};
use super::lane::{Ended, Incoming, LANES, Outgoing};
use crate::driver::queue::Queue;
use crate::driver::tls::believed::Believed;
use crate::driver::tls::failure::Failure;
use crate::driver::tls::trust::Trust;

/// The other side's next stream.
type Accepting = Pin<Box<dyn Future<Output = Result<RecvStream, ConnectionError>> + Send>>;

/// An open connection in the driver.
pub(crate) struct Link {
    connection: Connection,
    outgoing: [Outgoing; LANES],
    incoming: Vec<Incoming>,
    /// Until all of the other side's streams are there.
    accepting: Option<Accepting>,
    /// Until the core knows it.
    peer: Option<PeerIdentity>,
    believed: Believed,
    /// The other side has introduced itself, so that its other streams may be read.
    has_begun: bool,
    lingering: Lingering,
}

impl Link {
    pub(crate) fn new(opened: Opened, address: SocketAddr, queued: Queue, waker: &Waker, trust: &Trust) -> Self {
        let Opened { connection, streams, identity, exporter, chain, then, generation, lingering } = opened;
        let believed = Believed::new(chain, then, waker);
        // It was believed by credentials that are gone by now.
        if generation != trust.generation() {
            believed.check_again(trust);
        }
        let peer = PeerIdentity { cluster: identity.cluster, name: identity.name, exporter, address };
        let mut outgoing = streams.map(Outgoing::new);
        outgoing[0].begin_with(queued);
        let accepting = Some(accept(&connection));
        let (incoming, peer) = (Vec::new(), Some(peer));
        Self { connection, outgoing, incoming, accepting, peer, believed, has_begun: false, lingering }
    }

    /// Who is on the other side, once.
    pub(crate) fn take_peer(&mut self) -> Option<PeerIdentity> {
        self.peer.take()
    }

    pub(crate) fn check_again(&self, trust: &Trust) {
        self.believed.check_again(trust);
    }

    pub(crate) fn held(&self) -> usize {
        self.incoming.iter().map(Incoming::held).sum()
    }

    /// When the first of the messages that were begun has to be whole.
    pub(crate) fn ends(&self) -> Option<Timestamp> {
        self.incoming.iter().filter_map(Incoming::ends).min()
    }

    pub(crate) fn retry(&mut self) {
        self.outgoing.iter_mut().for_each(Outgoing::retry);
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.outgoing.iter().all(Outgoing::is_empty)
    }

    /// Hands in whole messages while `take` wants more, after at most so many reads of each stream. Tells whether more
    /// may be here.
    pub(crate) fn receive(
        &mut self,
        now: Timestamp,
        context: &mut Context<'_>,
        (scratch, reads): (&mut [u8], usize),
        mut take: impl FnMut(Bytes) -> bool,
    ) -> Result<bool, (CloseReason, Option<Failure>)> {
        self.believed.checked().map_err(|failure| (CloseReason::Untrusted, Some(failure)))?;
        self.accept(context).map_err(lost)?;
        let (mut goes_on, mut more) = (true, false);
        for (place, lane) in self.incoming.iter_mut().enumerate() {
            // Whoever has not introduced itself says nothing else.
            if place > 0 && !self.has_begun {
                break;
            }
            if !goes_on {
                more = true;
                break;
            }
            let has_begun = &mut self.has_begun;
            let mut hand_in = |message| {
                *has_begun = true;
                goes_on = take(message);
                goes_on
            };
            more |= lane.receive(now, context, scratch, reads, &mut hand_in).map_err(ended)?;
        }
        // The end of one lane says nothing of what is under way on the others.
        if self.incoming.len() == LANES && self.incoming.iter().all(Incoming::is_over) {
            return Err((CloseReason::Ended, None));
        }
        Ok(more)
    }

    fn accept(&mut self, context: &mut Context<'_>) -> Result<(), ConnectionError> {
        while let Some(accepting) = &mut self.accepting {
            let Poll::Ready(stream) = accepting.as_mut().poll(context) else { return Ok(()) };
            self.incoming.push(Incoming::new(stream?));
            self.accepting = (self.incoming.len() < LANES).then(|| accept(&self.connection));
        }
        Ok(())
    }

    pub(crate) fn send(&mut self, message: &Bytes) -> Result<(), CloseReason> {
        self.outgoing[Lane::of(message) as usize].push(message)
    }

    /// Writes as much as the connection takes.
    pub(crate) fn flush(&mut self, waker: &Waker) -> Result<(), (CloseReason, Option<Failure>)> {
        let mut context = Context::from_waker(waker);
        self.outgoing.iter_mut().try_for_each(|lane| lane.flush(&mut context)).map_err(ended)
    }

    /// Nothing follows. The connection ends when the other side has all of it.
    pub(crate) fn finish(self) {
        self.lingering.add(self.connection, self.outgoing.map(Outgoing::finish));
    }
}

fn accept(connection: &Connection) -> Accepting {
    let connection = connection.clone();
    Box::pin(async move { connection.accept_uni().await })
}

fn lost(error: ConnectionError) -> (CloseReason, Option<Failure>) {
    ended(Ended::Lost(error))
}

/// Why it ended, as the core and the log are told.
fn ended(ended: Ended) -> (CloseReason, Option<Failure>) {
    match ended {
        Ended::Broken(why) => (why, None),
        Ended::Lost(error) => match error {
            ConnectionError::ApplicationClosed(_) | ConnectionError::LocallyClosed => (CloseReason::Ended, None),
            ConnectionError::Reset => (CloseReason::Reset, None),
            ConnectionError::TimedOut => (CloseReason::TimedOut, None),
            error => (CloseReason::Failed, Some(failure(&error, None))),
        },
    }
}
