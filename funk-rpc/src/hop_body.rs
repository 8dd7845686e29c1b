//! The body of an answer that another node gives.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;

use crate::net::BoxFuture;
use crate::pool::AnswerBody;
use crate::reply::unavailable_trailers;

/// The body of a forwarded answer: it breaks off when its node is gone, since
/// a stopped process keeps its connections open and says nothing.
pub(crate) struct HopBody {
    body: AnswerBody,
    gone: Option<BoxFuture<()>>,
    ended: bool,
}

impl HopBody {
    /// `body`, until `gone` ends.
    pub(crate) fn new(body: AnswerBody, gone: BoxFuture<()>) -> Self {
        Self { body, gone: Some(gone), ended: false }
    }

    /// Ends the answer with trailers: an error of the body would reach the caller as a reset
    /// stream, which says nothing about calling again.
    fn end(&mut self, why: &'static str) -> Frame<Bytes> {
        self.ended = true;
        Frame::trailers(unavailable_trailers(why))
    }
}

impl HttpBody for HopBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // What has arrived was sent under a valid guard, so it goes first.
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let frame = match frame {
                None => {
                    self.ended = true;
                    None
                }
                Some(Ok(frame)) => Some(frame),
                Some(Err(error)) => {
                    tracing::debug!(%error, "the answer of a shard's owner broke off");
                    Some(self.end("the shard's owner broke off"))
                }
            };
            return Poll::Ready(frame.map(Ok));
        }
        if self.gone.as_mut().is_some_and(|gone| gone.as_mut().poll(context).is_pending()) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(self.end("the shard's owner changed before it had answered"))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}
