//! One try of one request.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use funk_rpc::{Body, Net, Pool};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use prost::Message;
use tonic::Code;

use crate::pb::{LiffRequest, LiffResponse};

/// Time for one try.
pub(super) const TRY_MAX: Duration = Duration::from_millis(500);

/// A good answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) node: String,
    pub(super) shard: u32,
    pub(super) epoch: u64,
}

/// Why a try failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The node may be gone: no connection, or no answer in time.
    Silent(String),
    /// The node answered that it cannot serve now.
    Again(String),
    /// The answer is wrong, or the service said no.
    Wrong(String),
}

/// Asks `address` once.
pub(super) async fn liff<N: Net>(pool: &Pool<N>, address: SocketAddr, id: i64) -> Result<Answer, Failure> {
    futures_lite::future::or(ask(pool, address, id), async {
        N::sleep(TRY_MAX).await;
        // The connection may be dead without a word: the next try dials anew.
        pool.forget(address);
        Err(Failure::Silent(format!("{address}: no answer within {TRY_MAX:?}")))
    })
    .await
}

async fn ask<N: Net>(pool: &Pool<N>, address: SocketAddr, id: i64) -> Result<Answer, Failure> {
    let request = Request::post(format!("http://{address}/demo.DemoService/Liff"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", format!("{}m", TRY_MAX.as_millis()))
        .body(Body::new(Full::new(frame(&LiffRequest { id }))))
        .expect("the parts are well-formed");
    let silent = |why: String| Failure::Silent(format!("{address}: {why}"));
    let response = pool.send(address, request).await.map_err(|error| silent(error.to_string()))?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| silent(error.to_string()))?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    check_status(&head.headers, &trailers, address)?;
    parse(&head.headers, &body.to_bytes(), id).map_err(|why| Failure::Wrong(format!("{address}: {why}")))
}

fn frame(message: &impl Message) -> Bytes {
    let length = u32::try_from(message.encoded_len()).expect("requests are small");
    let mut bytes = BytesMut::with_capacity(5 + message.encoded_len());
    bytes.put_u8(0);
    bytes.put_u32(length);
    message.encode(&mut bytes).expect("the buffer grows");
    bytes.freeze()
}

fn check_status(headers: &HeaderMap, trailers: &HeaderMap, address: SocketAddr) -> Result<(), Failure> {
    let status = headers.get("grpc-status").or_else(|| trailers.get("grpc-status"));
    let code = status.map_or(Code::Unavailable, |code| Code::from_bytes(code.as_bytes()));
    let message = headers.get("grpc-message").or_else(|| trailers.get("grpc-message"));
    let message = message.and_then(|message| message.to_str().ok()).unwrap_or_default();
    let why = format!("{address}: {code:?} {message}");
    match code {
        Code::Ok => Ok(()),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted => {
            Err(Failure::Again(why))
        }
        _ => Err(Failure::Wrong(why)),
    }
}

fn parse(headers: &HeaderMap, body: &[u8], id: i64) -> Result<Answer, String> {
    let message = body.get(5..).ok_or("an answer without a message")?;
    let answer = LiffResponse::decode(message).map_err(|error| error.to_string())?;
    if answer.id != id {
        return Err(format!("asked for {id}, got {}", answer.id));
    }
    let header = |name: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).ok_or_else(|| format!("an answer without {name}"))
    };
    let node = header("x-funk-node")?.to_owned();
    if node != answer.node_id {
        return Err(format!("{node} answered in the name of {}", answer.node_id));
    }
    let shard = header("x-funk-shard")?.parse().map_err(|_| "x-funk-shard is no number")?;
    let epoch = header("x-funk-epoch")?.parse().map_err(|_| "x-funk-epoch is no number")?;
    Ok(Answer { node, shard, epoch })
}
