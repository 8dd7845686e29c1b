//! Calls of the management service, with any bytes as their message, at a node that leads alone.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use funk_io::Runtime;
use funk_rpc::pb::managepb::cluster_management_server::ClusterManagementServer;
use funk_rpc::{Body, Node};
use funk_smol::Smol;
use futures_lite::future;
use http::Request;
use http_body_util::{BodyExt, Full};
use tower_service::Service;

use super::live;

/// The methods, in the order of their numbers.
pub(super) const METHODS: [&str; 13] = [
    "GetStatus",
    "ListNodes",
    "ListShards",
    "ListEndpoints",
    "StepDown",
    "AddNode",
    "RemoveNode",
    "DrainNode",
    "Recover",
    "PlanShards",
    "PinShards",
    "ListKeys",
    "ChangeKeys",
];
/// Time for a call that nobody else can carry out.
const CALL_MAX: &str = "20m";
/// Time after which a call has been forgotten.
const FORGOTTEN: Duration = Duration::from_secs(30);

static NODE: Mutex<Option<Node<Smol>>> = Mutex::new(None);

/// The first byte says which method, and whether another node passed the call on; the rest is the message.
pub(super) fn calls(data: &[u8]) {
    let Some((&how, message)) = data.split_first() else { return };
    let mut held = NODE.lock().unwrap_or_else(PoisonError::into_inner);
    // A call may take the node out of its cluster: the next one is another's.
    let node = match held.take().filter(Node::is_running) {
        Some(node) => node,
        None => live::node(),
    };
    let method = METHODS[usize::from(how & 0x7f) % METHODS.len()];
    let answered = Smol::block_on(async {
        let late = async {
            Smol::sleep(FORGOTTEN).await;
            panic!("{method} has no answer");
        };
        let message = Bytes::copy_from_slice(message);
        let code = future::or(call(&node, method, message, how & 0x80 != 0), late).await;
        let asked_again = call(&node, "GetStatus", Bytes::new(), false).await;
        (code, asked_again)
    });
    let (code, asked_again) = answered.expect("smol needs nothing");
    let may = [Some(0), Some(3), Some(14)];
    // A message that is none is INTERNAL to tonic, which says so before any handler runs.
    let is_message = code != Some(13);
    assert!(may.contains(&code) || !is_message, "{method}: status {code:?}");
    assert!(asked_again == Some(0) || !node.is_running(), "afterwards: {asked_again:?}");
    *held = Some(node);
}

/// The status of the answer; `None` if it has none.
async fn call(node: &Node<Smol>, method: &str, message: Bytes, passed_on: bool) -> Option<u8> {
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(&message);
    let mut request = Request::post(format!("http://a/managepb.ClusterManagement/{method}"))
        .header("content-type", "application/grpc")
        .header("grpc-timeout", CALL_MAX);
    if passed_on {
        request = request.header("x-funk-hop", "1");
    }
    let request = request.body(Body::new(Full::new(framed.freeze()))).expect("a legal request");
    let mut service = ClusterManagementServer::new(node.management().clone());
    let Ok(response) = service.call(request).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.ok()?;
    let trailers = body.trailers();
    let status = head.headers.get("grpc-status").or_else(|| trailers?.get("grpc-status"))?;
    status.to_str().ok()?.parse().ok()
}
