//! Cutting a gossip stream into messages. Nothing on the wire says where a
//! message ends but the values themselves.

use bytes::{Bytes, BytesMut};

use super::scan::Scan;
use super::seal::STREAM_HEAD_BYTES;
use super::{ACK, COMPRESS, ENCRYPTED, ERROR, PING, PUSH_PULL, USER};
use super::{BadMessage, BadStream, push_pull, user};
use crate::limits::{GOSSIP_RECORDS_MAX, GOSSIP_STREAM_BYTES_MAX};

/// Cuts a gossip stream into whole messages, whatever pieces it arrives in.
///
/// Call [`StreamDecoder::next`] until it gives `None` after each
/// [`StreamDecoder::push`]: then at most one message and one piece are held.
#[derive(Debug)]
pub struct StreamDecoder {
    buffer: BytesMut,
    /// Bytes of `buffer` that were looked at already.
    position: usize,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The type byte comes next.
    Type,
    /// The first value, which for some types says what follows it.
    Header(u8, Scan),
    /// A push/pull's node records, then raw bytes.
    Records(Scan, usize),
    /// An encrypted message, behind its length.
    Sealed,
    /// The message ends at this length.
    Raw(usize),
    /// The stream cannot be followed any more.
    Bad(BadStream),
}

impl Default for StreamDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamDecoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self { buffer: BytesMut::new(), position: 0, stage: Stage::Type }
    }

    /// Takes in bytes as they came. After an error they are dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        if !matches!(self.stage, Stage::Bad(_)) {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Bytes that wait for the rest of their message.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole message, with its type byte; `None` until more bytes are
    /// there. A compressed message comes as it is. After an error the stream is lost.
    #[allow(clippy::should_implement_trait, reason = "fallible and resumable, unlike an iterator")]
    pub fn next(&mut self) -> Result<Option<Bytes>, BadStream> {
        loop {
            match self.step() {
                Ok(Step::More) => {}
                Ok(Step::Wait) => return Ok(None),
                Ok(Step::Whole(length)) => {
                    self.position = 0;
                    self.stage = Stage::Type;
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
                Err(bad) => {
                    self.buffer = BytesMut::new();
                    self.stage = Stage::Bad(bad);
                    return Err(bad);
                }
            }
        }
    }

    fn step(&mut self) -> Result<Step, BadStream> {
        match self.stage {
            Stage::Bad(bad) => return Err(bad),
            Stage::Type => {
                let Some(&kind) = self.buffer.first() else { return Ok(Step::Wait) };
                if kind == ENCRYPTED {
                    self.stage = Stage::Sealed;
                    return Ok(Step::More);
                }
                if ![PING, ACK, PUSH_PULL, USER, COMPRESS, ERROR].contains(&kind) {
                    return Err(BadStream(BadMessage::Malformed("a gossip stream message's type")));
                }
                self.position = 1;
                self.stage = Stage::Header(kind, Scan::new(1));
            }
            Stage::Header(kind, mut scan) => {
                let ended = self.scan(&mut scan)?;
                self.stage = Stage::Header(kind, scan);
                if !ended {
                    return Ok(Step::Wait);
                }
                self.stage = after_header(kind, &self.buffer[1..self.position], self.position).map_err(BadStream)?;
            }
            Stage::Records(mut scan, raw) => {
                let ended = self.scan(&mut scan)?;
                self.stage = Stage::Records(scan, raw);
                if !ended {
                    return Ok(Step::Wait);
                }
                self.stage = Stage::Raw(self.position.saturating_add(raw));
            }
            Stage::Sealed => {
                let Some(head) = self.buffer.first_chunk::<STREAM_HEAD_BYTES>() else { return Ok(Step::Wait) };
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                self.stage = Stage::Raw(STREAM_HEAD_BYTES.saturating_add(length));
            }
            Stage::Raw(length) => {
                bounded(length as u64)?;
                return Ok(if self.buffer.len() < length { Step::Wait } else { Step::Whole(length) });
            }
        }
        Ok(Step::More)
    }

    fn scan(&mut self, scan: &mut Scan) -> Result<bool, BadStream> {
        let (passed, ended) = scan.advance(&self.buffer[self.position..]).map_err(BadStream)?;
        self.position += passed;
        bounded((self.position as u64).saturating_add(scan.promised()))?;
        Ok(ended)
    }
}

enum Step {
    /// The stage changed.
    More,
    /// More bytes are needed.
    Wait,
    /// A message of this length is at the front of the buffer.
    Whole(usize),
}

fn after_header(kind: u8, header: &[u8], position: usize) -> Result<Stage, BadMessage> {
    match kind {
        PUSH_PULL => {
            let header = push_pull::Header::decode(header)?;
            if header.nodes > GOSSIP_RECORDS_MAX {
                return Err(BadMessage::Oversized("a push/pull"));
            }
            let raw = usize::try_from(header.user_state_bytes).map_err(|_| BadMessage::Oversized("a push/pull"))?;
            bounded(header.user_state_bytes).map_err(|bad| bad.0)?;
            Ok(Stage::Records(Scan::new(header.nodes), raw))
        }
        USER => {
            let raw = user::length(header)?;
            Ok(Stage::Raw(position.saturating_add(usize::try_from(raw).unwrap_or(usize::MAX))))
        }
        _ => Ok(Stage::Raw(position)),
    }
}

fn bounded(bytes: u64) -> Result<(), BadStream> {
    if bytes > GOSSIP_STREAM_BYTES_MAX as u64 {
        return Err(BadStream(BadMessage::Oversized("a gossip stream message")));
    }
    Ok(())
}
