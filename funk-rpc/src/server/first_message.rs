//! The first gRPC message of each request: it has to come soon, and what is here of those that have not come as a
//! whole is bounded, all of a listener's requests together. When there is too much, the oldest make way: a message
//! that is on its way takes milliseconds, one that never comes stays.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tonic::Status;

use crate::limits::{FIRST_MESSAGE_MAX, UNREADY_BYTES_MAX, UNREADY_REQUESTS_MAX};
use crate::net::{AnyRuntime, BoxFuture};

/// Compressed flag and length of a gRPC message.
const HEADER_BYTES: usize = 5;

/// Requests whose first message is not here as a whole.
#[derive(Debug, Default)]
pub(super) struct Unready(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    bytes: usize,
    by_age: BTreeMap<u64, Part>,
}

/// What one of them has.
#[derive(Debug)]
struct Part {
    bytes: usize,
    waker: Option<Waker>,
}

impl Waiting {
    fn remove(&mut self, number: u64) -> Option<Part> {
        let part = self.by_age.remove(&number)?;
        self.bytes -= part.bytes;
        Some(part)
    }

    /// The oldest go until the rest has room, but never the one that came last.
    fn make_room(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        while self.by_age.len() > 1 && (self.by_age.len() > UNREADY_REQUESTS_MAX || self.bytes > UNREADY_BYTES_MAX) {
            let oldest = self.by_age.keys().next().copied();
            woken.extend(oldest.and_then(|oldest| self.remove(oldest)).and_then(|part| part.waker));
        }
        woken
    }
}

impl Unready {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a request has `bytes` of its first message and waits for more; `false` if it has to make way.
    fn note(&self, number: &mut Option<u64>, bytes: usize, waker: &Waker) -> bool {
        let mut waiting = self.lock();
        let number = *number.get_or_insert_with(|| {
            let number = waiting.next;
            waiting.next += 1;
            waiting.by_age.insert(number, Part { bytes: 0, waker: None });
            number
        });
        let Some(part) = waiting.by_age.get_mut(&number) else { return false };
        let before = std::mem::replace(&mut part.bytes, bytes);
        part.waker = Some(waker.clone());
        waiting.bytes = waiting.bytes - before + bytes;
        let woken = waiting.make_room();
        drop(waiting);
        woken.into_iter().for_each(Waker::wake);
        true
    }

    /// How many had to make way.
    #[cfg(test)]
    pub(super) fn refused(&self) -> usize {
        let waiting = self.lock();
        usize::try_from(waiting.next).unwrap_or(usize::MAX) - waiting.by_age.len()
    }

    fn forget(&self, number: u64) {
        self.lock().remove(number);
    }
}

/// A request's body, watched until its first message is here.
pub(super) struct FirstMessage {
    body: Incoming,
    /// `None` once the first message is here.
    watch: Option<Watch>,
    runtime: AnyRuntime,
}

struct Watch {
    unready: Arc<Unready>,
    number: Option<u64>,
    late: Option<BoxFuture<()>>,
    head: Vec<u8>,
    bytes: usize,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.unready.forget(number);
        }
    }
}

impl Watch {
    /// Takes note of what came. Whether the message is complete.
    fn takes(&mut self, data: &[u8]) -> bool {
        let missing = HEADER_BYTES.saturating_sub(self.head.len()).min(data.len());
        self.head.extend_from_slice(&data[..missing]);
        self.bytes = self.bytes.saturating_add(data.len());
        let Some(length) = self.head.get(1..HEADER_BYTES).and_then(|length| length.try_into().ok()) else {
            return false;
        };
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        self.bytes - HEADER_BYTES >= length
    }
}

impl FirstMessage {
    pub(super) fn new(body: Incoming, runtime: AnyRuntime, unready: &Arc<Unready>) -> Self {
        let watch = Watch { unready: Arc::clone(unready), number: None, late: None, head: Vec::new(), bytes: 0 };
        let watch = (!body.is_end_stream()).then_some(watch);
        Self { body, watch, runtime }
    }
}

impl HttpBody for FirstMessage {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        let frame = match frame {
            Poll::Ready(Some(Ok(frame))) => {
                let whole = match (&mut self.watch, frame.data_ref()) {
                    (Some(watch), Some(data)) => watch.takes(data),
                    _ => false,
                };
                if whole {
                    self.watch = None;
                }
                Some(Ok(frame))
            }
            Poll::Ready(Some(Err(error))) => Some(Err(Status::cancelled(error.to_string()))),
            Poll::Ready(None) => None,
            Poll::Pending => {
                let runtime = self.runtime;
                let Some(watch) = &mut self.watch else { return Poll::Pending };
                // Only who is waited for takes a place and a timer: nearly every request is here as a whole.
                let late = watch.late.get_or_insert_with(|| runtime.sleep(FIRST_MESSAGE_MAX));
                let why = if late.as_mut().poll(context).is_ready() {
                    "the first message did not come in time"
                } else if !watch.unready.note(&mut watch.number, watch.bytes, context.waker()) {
                    "too many requests wait for their first message"
                } else {
                    return Poll::Pending;
                };
                self.watch = None;
                return Poll::Ready(Some(Err(Status::unavailable(why))));
            }
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(unready: &Unready, bytes: usize) -> Option<u64> {
        let mut number = None;
        unready.note(&mut number, bytes, Waker::noop());
        number
    }

    #[test]
    fn the_oldest_make_way_when_too_many_wait() {
        let unready = Unready::default();
        let mut first = waits(&unready, 0);
        let mut second = waits(&unready, 0);
        for _ in 0..UNREADY_REQUESTS_MAX - 1 {
            waits(&unready, 0);
        }
        assert_eq!(unready.lock().by_age.len(), UNREADY_REQUESTS_MAX);
        assert!(!unready.note(&mut first, 0, Waker::noop()), "it is out");
        assert!(unready.note(&mut second, 0, Waker::noop()));
    }

    #[test]
    fn the_oldest_make_way_when_too_much_is_here() {
        let unready = Unready::default();
        let mut first = waits(&unready, UNREADY_BYTES_MAX / 2);
        waits(&unready, UNREADY_BYTES_MAX / 2);
        assert!(unready.note(&mut first, UNREADY_BYTES_MAX / 2, Waker::noop()));
        let mut third = waits(&unready, 1);
        assert!(!unready.note(&mut first, 0, Waker::noop()));
        assert!(unready.note(&mut third, 2 * UNREADY_BYTES_MAX, Waker::noop()), "one alone has room");
        assert_eq!(unready.lock().by_age.len(), 1);
        unready.forget(third.unwrap());
        assert_eq!(unready.lock().bytes, 0);
    }

    #[test]
    fn a_message_is_whole_when_its_last_byte_is_here() {
        let mut watch = Watch { unready: Arc::default(), number: None, late: None, head: Vec::new(), bytes: 0 };
        assert!(!watch.takes(b"\0\0") && !watch.takes(b"\0\0\x03ab") && watch.takes(b"c"));
        let mut watch = Watch { unready: Arc::default(), number: None, late: None, head: Vec::new(), bytes: 0 };
        assert!(watch.takes(b"\0\0\0\0\0"), "an empty message is one");
        let mut watch = Watch { unready: Arc::default(), number: None, late: None, head: Vec::new(), bytes: 0 };
        assert!(!watch.takes(b"\0\xff\xff\xff\xffabc"));
    }
}
