//! One request and its answer on a connection.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_channel::{Receiver, Sender};
use bytes::Bytes;
use futures_lite::future;
use h2::{Reason, RecvStream, SendStream};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, Request, Response, Uri, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use super::SendError;
use super::connection::Place;
use crate::net::AnyRuntime;

/// Headers that are between two neighbours, and have no place in HTTP/2.
const CONNECTION_HEADERS: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Ends the request's body when it is dropped.
struct Caller {
    place: Arc<Place>,
    _there: Sender<Infallible>,
    answered: bool,
}

impl Drop for Caller {
    fn drop(&mut self) {
        if !self.answered {
            self.place.cancelled();
        }
    }
}

/// Sends `request`; ends with the head of its answer.
pub(super) async fn exchange(
    runtime: AnyRuntime,
    place: Place,
    request: Request<Body>,
) -> Result<Response<AnswerBody>, SendError> {
    let (mut head, body) = request.into_parts();
    for name in CONNECTION_HEADERS {
        head.headers.remove(name);
    }
    if place.is_secured() {
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.scheme = parts.authority.is_some().then_some(Scheme::HTTPS);
        head.uri = Uri::from_parts(parts).map_err(|error| SendError::NotSent(error.to_string()))?;
    }
    let not_sent = |error: h2::Error| SendError::NotSent(error.to_string());
    let ends = body.is_end_stream();
    let mut sender = place.sender().ready().await.map_err(not_sent)?;
    let (answer, stream) = sender.send_request(Request::from_parts(head, ()), ends).map_err(not_sent)?;
    drop(sender);
    let (there, gone) = async_channel::bounded(1);
    let place = Arc::new(place);
    let mut caller = Caller { place: Arc::clone(&place), _there: there, answered: false };
    if !ends {
        let mut piping = Box::pin(async move {
            let _place = place;
            pipe(body, stream, &gone).await;
        });
        // Most requests are here as a whole.
        if future::poll_once(piping.as_mut()).await.is_none() {
            runtime.spawn(piping);
        }
    }
    match answer.await {
        Ok(response) => Ok(response.map(|stream| AnswerBody { stream, no_data: false, caller })),
        Err(error) => {
            caller.answered = true;
            // Who refuses a stream, or says goodbye before it, did not look at it.
            let unseen = error.reason() == Some(Reason::REFUSED_STREAM)
                || error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
            let why = error.to_string();
            Err(if unseen { SendError::NotSent(why) } else { SendError::Sent(why) })
        }
    }
}

/// Sends a request's body, until the other side wants no more of it or nobody waits for the answer any more.
/// Neither of them waits for the other here: a reader that stands still keeps nothing alive.
async fn pipe(body: Body, mut stream: SendStream<Bytes>, gone: &Receiver<Infallible>) {
    let mut gone = pin!(gone.recv());
    let mut body = pin!(body);
    let mut waiting: Option<(Bytes, bool)> = None;
    let ended = poll_fn(|context| {
        loop {
            if gone.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(Reason::CANCEL));
            }
            if stream.poll_reset(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if let Some((bytes, last)) = &mut waiting {
                match ready!(stream.poll_capacity(context)) {
                    Some(Ok(room)) => {
                        let part = bytes.split_to(room.min(bytes.len()));
                        let ends = *last && bytes.is_empty();
                        if !part.is_empty() && stream.send_data(part, ends).is_err() {
                            return Poll::Ready(Ok(()));
                        }
                        if ends {
                            return Poll::Ready(Ok(()));
                        }
                        if bytes.is_empty() {
                            waiting = None;
                        }
                    }
                    Some(Err(_)) | None => return Poll::Ready(Ok(())),
                }
                continue;
            }
            let sent = match ready!(body.as_mut().poll_frame(context)) {
                None => return Poll::Ready(stream.send_data(Bytes::new(), true).map_err(|_| Reason::CANCEL)),
                Some(Err(_)) => return Poll::Ready(Err(Reason::CANCEL)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {
                        let ends = body.is_end_stream();
                        let sent = stream.send_data(data, ends);
                        if ends {
                            return Poll::Ready(Ok(()));
                        }
                        sent
                    }
                    Ok(data) => {
                        stream.reserve_capacity(data.len());
                        waiting = Some((data, body.is_end_stream()));
                        Ok(())
                    }
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        let _ = stream.send_trailers(trailers);
                        return Poll::Ready(Ok(()));
                    }
                },
            };
            if sent.is_err() {
                return Poll::Ready(Ok(()));
            }
        }
    })
    .await;
    if let Err(reason) = ended {
        stream.send_reset(reason);
    }
}

/// The body of an answer. Dropping it ends the request at the other side.
pub(crate) struct AnswerBody {
    stream: RecvStream,
    no_data: bool,
    caller: Caller,
}

impl AnswerBody {
    fn end(&mut self, trailers: Option<HeaderMap>) -> Option<Result<Frame<Bytes>, Status>> {
        self.no_data = true;
        self.caller.answered = true;
        trailers.map(|trailers| Ok(Frame::trailers(trailers)))
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.no_data {
            match ready!(self.stream.poll_data(context)) {
                Some(Ok(data)) => {
                    // It is out of the window as soon as it is read; an error is of a stream that has ended.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    if self.stream.is_end_stream() {
                        self.caller.answered = true;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => return Poll::Ready(self.end(None)),
                Some(Err(error)) => {
                    self.end(None);
                    return Poll::Ready(Some(Err(Status::unavailable(error.to_string()))));
                }
                None => self.no_data = true,
            }
        }
        match ready!(self.stream.poll_trailers(context)) {
            Ok(trailers) => Poll::Ready(self.end(trailers)),
            Err(error) if error.reason() == Some(Reason::NO_ERROR) => Poll::Ready(self.end(None)),
            Err(error) => {
                self.end(None);
                Poll::Ready(Some(Err(Status::unavailable(error.to_string()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}
