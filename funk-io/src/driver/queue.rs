//! What a stream has to write.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use funk_proto::wire::frame;
use funk_proto::{CloseReason, StreamKind};

/// Bytes of an empty queue's buffer that are kept for the next message.
const QUEUE_KEPT_BYTES: usize = 256 << 10;

/// Bytes to write, and where each message among them ends.
#[derive(Debug, Default)]
pub(super) struct Queue {
    bytes: BytesMut,
    /// Ends of the queued messages, in bytes since the stream began.
    ends: VecDeque<u64>,
    written: u64,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn push(&mut self, channel: StreamKind, message: &Bytes) -> Result<(), CloseReason> {
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

    pub(super) fn written(&mut self, length: usize) {
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

#[cfg(test)]
mod tests {
    use funk_proto::limits;

    use super::*;

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
