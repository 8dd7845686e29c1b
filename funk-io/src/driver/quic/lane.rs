//! One direction of one of a connection's streams.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use funk_proto::wire::cluster::Lane;
use funk_proto::{CloseReason, StreamKind, Timestamp};
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, WriteError};

use crate::driver::decoder::{Begun, Decoder};
use crate::driver::queue::Queue;

/// Streams on which each side sends.
pub(super) const LANES: usize = Lane::ALL.len();

/// What ended a lane.
#[derive(Debug)]
pub(super) enum Ended {
    /// The connection is gone.
    Lost(ConnectionError),
    /// Anything else is against the protocol.
    Broken(CloseReason),
}

impl From<ReadError> for Ended {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(error) => Self::Lost(error),
            ReadError::Reset(_) => Self::Broken(CloseReason::Reset),
            ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => {
                Self::Broken(CloseReason::Failed)
            }
        }
    }
}

impl From<WriteError> for Ended {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(error) => Self::Lost(error),
            WriteError::Stopped(_) => Self::Broken(CloseReason::Reset),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::Broken(CloseReason::Failed),
        }
    }
}

/// What this side sends.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: SendStream,
    queue: Queue,
    /// It took no more; it wakes the driver when it does.
    is_blocked: bool,
}

impl Outgoing {
    pub(super) fn new(stream: SendStream) -> Self {
        Self { stream, queue: Queue::default(), is_blocked: false }
    }

    /// Takes over what was queued before there was a connection.
    pub(super) fn begin_with(&mut self, queue: Queue) {
        self.queue = queue;
    }

    pub(super) fn push(&mut self, message: &Bytes) -> Result<(), CloseReason> {
        self.queue.push(StreamKind::Cluster, message)
    }

    pub(super) fn retry(&mut self) {
        self.is_blocked = false;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Writes as much as the connection takes.
    pub(super) fn flush(&mut self, context: &mut Context<'_>) -> Result<(), Ended> {
        while !self.is_blocked && !self.queue.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, self.queue.bytes()) {
                Poll::Pending => self.is_blocked = true,
                Poll::Ready(written) => self.queue.written(written?),
            }
        }
        Ok(())
    }

    /// Nothing follows. What is left of it is sent on.
    pub(super) fn finish(mut self) -> SendStream {
        // One that was ended already needs no end.
        let _ = self.stream.finish();
        self.stream
    }
}

/// What the other side sends.
pub(super) struct Incoming {
    stream: RecvStream,
    decoder: Decoder,
    begun: Begun,
    is_over: bool,
}

impl Incoming {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, decoder: Decoder::Frames(BytesMut::new()), begun: Begun::default(), is_over: false }
    }

    /// Whether the other side has said all.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Bytes here of a message that is not here as a whole.
    pub(super) fn held(&self) -> usize {
        self.decoder.held()
    }

    /// When a message that was begun has to be whole.
    pub(super) fn ends(&self) -> Option<Timestamp> {
        self.begun.ends()
    }

    /// Hands in whole messages while `take` wants more, after at most so many reads. Tells whether more may be here.
    pub(super) fn receive(
        &mut self,
        now: Timestamp,
        context: &mut Context<'_>,
        scratch: &mut [u8],
        reads: usize,
        mut take: impl FnMut(Bytes) -> bool,
    ) -> Result<bool, Ended> {
        let (mut goes_on, mut is_dry, mut cut) = (true, false, false);
        if self.is_over {
            return Ok(false);
        }
        for _ in 0..reads {
            while goes_on {
                let Some(message) = self.decoder.next().map_err(Ended::Broken)? else { break };
                cut = true;
                goes_on = take(message);
            }
            if !goes_on {
                break;
            }
            match self.stream.poll_read(context, scratch) {
                Poll::Pending => {
                    is_dry = true;
                    break;
                }
                Poll::Ready(read) => match read? {
                    0 => {
                        (self.is_over, is_dry) = (true, true);
                        break;
                    }
                    length => self.decoder.push(&scratch[..length]),
                },
            }
        }
        self.begun.note(now, cut, self.decoder.held());
        Ok(!is_dry)
    }
}
