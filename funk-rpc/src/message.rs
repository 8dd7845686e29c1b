//! The first gRPC message of a request, read ahead, and bodies that can be
//! sent again as long as little was taken from behind it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use crate::limits::REPLAY_BYTES_MAX;
use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tonic::body::Body;
use tonic::{Code, Status};

/// Compressed flag and length.
const HEADER_BYTES: usize = 5;

/// A request body of which a part was read ahead.
#[derive(Clone)]
pub(crate) struct Replay {
    prefix: Bytes,
    message: Bytes,
    rest: Arc<Mutex<Rest>>,
}

struct Rest {
    /// `None`: it ended.
    body: Option<Body>,
    /// What was taken from the body, as long as it is little and may be sent again.
    kept: Vec<Bytes>,
    kept_bytes: usize,
    /// Whether something was taken that cannot be sent again.
    lost: bool,
    /// The attempt that may read; older ones end.
    attempt: u64,
}

impl Replay {
    /// A body of which nothing is read ahead.
    pub(crate) fn unread(body: Body) -> Self {
        Self::with(Bytes::new(), Bytes::new(), Some(body))
    }

    fn with(prefix: Bytes, message: Bytes, body: Option<Body>) -> Self {
        Self {
            prefix,
            message,
            rest: Arc::new(Mutex::new(Rest { body, kept: Vec::new(), kept_bytes: 0, lost: false, attempt: 0 })),
        }
    }

    /// Reads the first message of `body`, and no more than the frame that ends it.
    pub(crate) async fn read(mut body: Body, bytes_max: usize) -> Result<Self, Status> {
        let mut held = BytesMut::new();
        let mut needed = HEADER_BYTES;
        loop {
            if held.len() >= HEADER_BYTES {
                needed = HEADER_BYTES + message_length(&held, bytes_max)?;
            }
            if held.len() >= needed {
                break;
            }
            let frame = match body.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) if error.code() == Code::Unavailable => return Err(error),
                Some(Err(error)) => {
                    return Err(Status::new(Code::Cancelled, format!("the request broke off: {error}")));
                }
                None => return Err(Status::new(Code::InvalidArgument, "the request ended before its first message")),
            };
            if let Ok(data) = frame.into_data() {
                held.extend_from_slice(&data);
            }
        }
        let prefix = held.freeze();
        let message = prefix.slice(HEADER_BYTES..needed);
        let body = (!body.is_end_stream()).then_some(body);
        Ok(Self::with(prefix, message, body))
    }

    /// The first message, without its length.
    pub(crate) fn message(&self) -> &[u8] {
        &self.message
    }

    /// Bytes held in memory.
    pub(crate) fn held(&self) -> usize {
        self.prefix.len()
    }

    /// A body that gives all of it. Attempts made before it end here.
    pub(crate) fn attempt(&self) -> Body {
        let attempt = {
            let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
            rest.attempt += 1;
            rest.attempt
        };
        // The new body is asked at once whether it has ended, so the lock is free again by here.
        Body::new(Attempt { prefix: self.prefix.clone(), rest: Arc::clone(&self.rest), attempt, next: 0 })
    }

    /// Whether another attempt would give the same bytes.
    pub(crate) fn can_repeat(&self) -> bool {
        !self.rest.lock().unwrap_or_else(PoisonError::into_inner).lost
    }
}

fn message_length(mut held: &[u8], bytes_max: usize) -> Result<usize, Status> {
    if held.get_u8() != 0 {
        return Err(Status::new(Code::Unimplemented, "a routed request's first message cannot be compressed"));
    }
    let length = usize::try_from(held.get_u32()).unwrap_or(usize::MAX);
    if length > bytes_max {
        let message = format!("the first message has {length} bytes: at most {bytes_max}");
        return Err(Status::new(Code::ResourceExhausted, message));
    }
    Ok(length)
}

/// One sending of a [`Replay`].
struct Attempt {
    prefix: Bytes,
    rest: Arc<Mutex<Rest>>,
    attempt: u64,
    /// The first of what is kept that this attempt has not given yet.
    next: usize,
}

impl Rest {
    /// Notes what the present attempt takes: kept, or lost to later ones.
    fn take(&mut self, frame: &Frame<Bytes>) {
        match frame.data_ref() {
            // An empty frame often carries only the end of the stream: losing it loses nothing.
            Some(data) if data.is_empty() => {}
            Some(data) if !self.lost && self.kept_bytes + data.len() <= REPLAY_BYTES_MAX => {
                self.kept_bytes += data.len();
                self.kept.push(data.clone());
            }
            _ => self.lose(),
        }
    }

    fn lose(&mut self) {
        self.lost = true;
        self.kept = Vec::new();
    }
}

impl HttpBody for Attempt {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.prefix.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.prefix)))));
        }
        let shared = Arc::clone(&self.rest);
        let mut rest = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if rest.attempt != self.attempt {
            return Poll::Ready(Some(Err(Status::cancelled("another attempt took over"))));
        }
        if let Some(kept) = rest.kept.get(self.next) {
            self.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(kept.clone()))));
        }
        // Besides this poll's and the attempt's own there is none who could begin another attempt.
        if !rest.lost && Arc::strong_count(&shared) == 2 {
            rest.lose();
        }
        let Some(body) = rest.body.as_mut() else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(body).poll_frame(context));
        match &frame {
            None => rest.body = None,
            Some(Ok(frame)) => {
                rest.take(frame);
                self.next = rest.kept.len();
            }
            Some(Err(_)) => rest.lose(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let given = self.prefix.is_empty() && self.next >= rest.kept.len();
        given && rest.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;
    use http_body_util::Full;

    use super::*;

    fn body(bytes: &[u8]) -> Body {
        Body::new(Full::new(Bytes::copy_from_slice(bytes)))
    }

    #[test]
    fn the_first_message_is_found_and_all_bytes_are_sent_again() {
        let sent = b"\0\0\0\0\x02hi\0\0\0\0\x01x";
        let replay = block_on(Replay::read(body(sent), 10)).unwrap();
        assert_eq!(replay.message(), b"hi");
        for _ in 0..2 {
            assert_eq!(block_on(replay.attempt().collect()).unwrap().to_bytes(), &sent[..]);
            assert!(replay.can_repeat());
        }
    }

    #[test]
    fn compressed_oversized_and_short_messages_are_refused() {
        let code = |bytes: &[u8]| block_on(Replay::read(body(bytes), 10)).err().unwrap().code();
        assert_eq!(code(b"\x01\0\0\0\x02hi"), Code::Unimplemented);
        assert_eq!(code(b"\0\0\0\0\x0bhi"), Code::ResourceExhausted);
        assert_eq!(code(b"\0\xff\xff\xff\xffhi"), Code::ResourceExhausted);
        assert_eq!(code(b"\0\0\0\0\x03hi"), Code::InvalidArgument);
        assert_eq!(code(b""), Code::InvalidArgument);
    }

    #[test]
    fn little_that_was_taken_from_behind_the_first_message_is_sent_again() {
        let replay = Replay::unread(body(b"some bytes"));
        let mut old = replay.attempt();
        assert_eq!(block_on(old.frame()).unwrap().unwrap().into_data().unwrap(), &b"some bytes"[..]);
        assert!(replay.can_repeat());
        let new = replay.attempt();
        assert!(block_on(old.frame()).unwrap().is_err(), "the older attempt takes nothing");
        assert_eq!(block_on(new.collect()).unwrap().to_bytes(), &b"some bytes"[..]);
    }

    #[test]
    fn what_is_too_much_to_keep_is_sent_once() {
        let replay = Replay::unread(body(&vec![7; REPLAY_BYTES_MAX + 1]));
        assert_eq!(block_on(replay.attempt().collect()).unwrap().to_bytes().len(), REPLAY_BYTES_MAX + 1);
        assert!(!replay.can_repeat());
    }

    #[test]
    fn nothing_is_kept_that_nobody_can_send_again() {
        let replay = Replay::unread(body(b"some bytes"));
        let rest = Arc::downgrade(&replay.rest);
        let mut only = replay.attempt();
        drop(replay);
        assert!(block_on(only.frame()).unwrap().is_ok());
        assert!(rest.upgrade().unwrap().lock().unwrap().kept.is_empty());
    }
}
