//! What commands have in common when they read a node's answer and give their own.

use funk_rpc::pb::managepb as pb;
use serde_json::Value;

use super::asked::Asked;
use super::{Answer, Failure, node};

/// An error in an answer is a refusal.
pub(super) fn no_error(what: &str, error: Option<&pb::Error>) -> Result<(), Failure> {
    match error {
        Some(error) if error.error_code() != pb::error::Code::Ok => Err(node::refused(what, error)),
        _ => Ok(()),
    }
}

/// An answer with nothing to remark.
pub(super) fn good(json: Value, text: String) -> Answer {
    Answer { json, text, good: true, note: None }
}

/// Every endpoint by node: (node, name, address), sorted.
pub(super) async fn all_endpoints(asked: &Asked<'_>) -> Result<Vec<(String, String, String)>, Failure> {
    let all = pb::ListEndpointsRequest { filter: String::new() };
    let (_, list) = asked.call(all, async |node, request| node.list_endpoints(request).await).await?;
    no_error("endpoints", list.error.as_ref())?;
    let mut all: Vec<_> =
        list.endpoints.into_iter().map(|endpoint| (endpoint.node_id, endpoint.name, endpoint.address)).collect();
    all.sort();
    Ok(all)
}
