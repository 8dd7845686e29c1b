//! The body of the event stream, for any runtime.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::{future, stream};
use http::{Response, header};
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::body::Body;

use super::hub::{Client, Next};
use crate::net::BoxFuture;

/// Silence after which a comment is sent, so that both sides notice a dead connection.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// First bytes of the stream: how long a browser waits before it connects again.
const OPENING: &[u8] = b"retry: 1000\n: funk cluster events\n\n";

/// Ends after the given time.
pub(super) type Sleep = fn(Duration) -> BoxFuture<()>;

/// Streams to `client` until the node stops or the client goes.
pub(super) fn respond(client: Client, sleep: Sleep) -> Response<Body> {
    let frames = stream::unfold((client, true), move |(mut client, first)| async move {
        if first {
            return Some((frame(Bytes::from_static(OPENING)), (client, false)));
        }
        let bytes = next(&mut client, sleep).await?;
        Some((frame(bytes), (client, false)))
    });
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

/// The next bytes for `client`; `None` at the end.
async fn next(client: &mut Client, sleep: Sleep) -> Option<Bytes> {
    loop {
        let changed = client.changed();
        match client.next() {
            Next::Frames(bytes) => return Some(bytes),
            Next::End => return None,
            Next::Wait => {}
        }
        let beat = async {
            sleep(HEARTBEAT).await;
            true
        };
        let woken = async {
            changed.await;
            false
        };
        if future::or(woken, beat).await {
            return Some(Bytes::from_static(b": beat\n\n"));
        }
    }
}

fn frame(bytes: Bytes) -> Result<Frame<Bytes>, Infallible> {
    Ok(Frame::data(bytes))
}

#[cfg(test)]
mod tests {
    use funk_proto::Event;
    use funk_proto::id::Epoch;
    use http_body_util::BodyExt;

    use super::super::hub::Hub;
    use super::*;

    fn never(_: Duration) -> BoxFuture<()> {
        Box::pin(future::pending())
    }

    fn at_once(_: Duration) -> BoxFuture<()> {
        Box::pin(future::ready(()))
    }

    async fn chunk(body: &mut Body) -> Option<Bytes> {
        Some(body.frame().await?.unwrap().into_data().unwrap())
    }

    #[test]
    fn the_stream_opens_tells_events_and_ends_with_the_node() {
        future::block_on(async {
            let hub = Hub::new();
            let response = respond(hub.client(None).unwrap(), never);
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
            let mut body = response.into_body();
            assert_eq!(chunk(&mut body).await.unwrap(), OPENING);
            hub.push(&"n0".parse().unwrap(), &Event::Map { epoch: Epoch(4) }, 1);
            let told = chunk(&mut body).await.unwrap();
            assert!(told.starts_with(b"id: ") && told.ends_with(b"\n\n"), "{told:?}");
            hub.end();
            assert_eq!(chunk(&mut body).await, None);
            drop(body);
            assert_eq!(hub.clients(), 0, "a client that is gone is no longer counted");
        });
    }

    #[test]
    fn silence_is_filled_with_comments() {
        future::block_on(async {
            let hub = Hub::new();
            let mut body = respond(hub.client(None).unwrap(), at_once).into_body();
            assert_eq!(chunk(&mut body).await.unwrap(), OPENING);
            assert_eq!(chunk(&mut body).await.unwrap(), &b": beat\n\n"[..]);
        });
    }
}
