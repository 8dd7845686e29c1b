//! Answers that the layer makes itself, and the headers of its protocol.

use std::time::Duration;

use crate::limits::{CALLER_WAIT_MAX, FORWARD_WAIT_MAX};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tonic::body::Body;
use tonic::{Code, Status};

/// Marks a forwarded request: it is never forwarded again.
pub(crate) const HOP: HeaderName = HeaderName::from_static("x-funk-hop");
/// Marks an answer that was given before any handler ran, by a node that does not own the shard.
pub(crate) const NOT_OWNER: HeaderName = HeaderName::from_static("x-funk-not-owner");
/// Marks an answer that was given before any handler ran: it may be tried again, whatever it was.
pub(crate) const NOT_RUN: HeaderName = HeaderName::from_static("x-funk-not-run");
/// The owner as the answering node knows it.
pub(crate) const OWNER: HeaderName = HeaderName::from_static("x-funk-owner");
/// The map epoch of the answering node, or of the one that forwards.
pub(crate) const MAP_EPOCH: HeaderName = HeaderName::from_static("x-funk-map-epoch");
/// The node that served.
pub(crate) const NODE: HeaderName = HeaderName::from_static("x-funk-node");
/// The request's shard.
pub(crate) const SHARD: HeaderName = HeaderName::from_static("x-funk-shard");
/// The shard's epoch.
pub(crate) const EPOCH: HeaderName = HeaderName::from_static("x-funk-epoch");
/// How often a client sent the request that is answered here; never on the wire.
pub(crate) const TRIES: HeaderName = HeaderName::from_static("x-funk-tries");
/// gRPC's deadline.
pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// A gRPC answer without a message.
pub(crate) fn error(code: Code, message: impl Into<String>) -> Response<Body> {
    Status::new(code, message).into_http()
}

/// An answer that the client may try again elsewhere or later.
pub(crate) fn unavailable(message: impl Into<String>) -> Response<Body> {
    error(Code::Unavailable, message)
}

/// Says of an answer that no handler ran.
pub(crate) fn not_run(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(NOT_RUN, HeaderValue::from_static("1"));
    response
}

/// The trailers that end a stream whose rest is withheld.
pub(crate) fn unavailable_trailers(message: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(Code::Unavailable as i32));
    trailers.insert("grpc-message", HeaderValue::from_static(message));
    trailers
}

/// Reads `grpc-timeout`: up to eight digits and a unit.
pub(crate) fn parse_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

/// The time that a caller gives for a call that others carry out, up to a bound; the node's own if it gives none.
pub(crate) fn time_for<T>(request: &tonic::Request<T>) -> Duration {
    parse_timeout(request.metadata().as_ref()).map_or(FORWARD_WAIT_MAX, |given| given.min(CALLER_WAIT_MAX))
}

/// `grpc-timeout` for what is left, rounded up, in the finest unit that fits eight digits.
pub(crate) fn format_timeout(left: Duration) -> HeaderValue {
    let micros = left.as_micros().max(1);
    let text = if micros < 100_000_000 {
        format!("{micros}u")
    } else if micros / 1_000 < 99_999_999 {
        format!("{}m", micros.div_ceil(1_000))
    } else {
        format!("{}S", left.as_secs().saturating_add(1).min(99_999_999))
    };
    HeaderValue::from_str(&text).expect("digits and a letter are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(TIMEOUT, HeaderValue::from_str(text).unwrap());
        parse_timeout(&headers)
    }

    #[test]
    fn a_call_gets_the_time_that_its_caller_gives_up_to_a_bound() {
        let given = |time: Option<Duration>| {
            let mut request = tonic::Request::new(());
            if let Some(time) = time {
                request.set_timeout(time);
            }
            time_for(&request)
        };
        assert_eq!(given(None), FORWARD_WAIT_MAX);
        for seconds in [1, 25, 59] {
            assert_eq!(given(Some(Duration::from_secs(seconds))), Duration::from_secs(seconds));
        }
        assert_eq!(given(Some(Duration::from_secs(3_600))), CALLER_WAIT_MAX);
    }

    #[test]
    fn deadlines_are_read_and_written() {
        assert_eq!(parse("500m"), Some(Duration::from_millis(500)));
        assert_eq!(parse("2H"), Some(Duration::from_secs(7200)));
        for bad in ["", "m", "5", "5x", "123456789S", "-5S", "+5S"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        for left in [Duration::from_micros(7), Duration::from_secs(99), Duration::from_secs(1_000_000)] {
            let back = parse(format_timeout(left).to_str().unwrap()).unwrap();
            assert!(back >= left && back <= left + Duration::from_secs(1), "{left:?} {back:?}");
        }
    }
}
