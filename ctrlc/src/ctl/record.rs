//! Recordings of nodes.

use funk_rpc::pb::managepb as pb;
use serde_json::json;

use super::answer::{good, no_error};
use super::asked::Asked;
use super::node::Management;
use super::table::Text;
use super::{Answer, Failure};

/// Lets the asked node write what went into it to a file.
pub(super) async fn dump(asked: &Asked<'_>) -> Result<Answer, Failure> {
    let call = async |node: &mut Management, request| node.dump_recording(request).await;
    let done = asked.change(pb::DumpRecordingRequest {}, "status", call).await?;
    no_error("record dump", done.error.as_ref())?;
    let json = json!({ "node": done.node_id, "path": done.path, "bytes": done.bytes, "whole": done.whole });
    let mut text = Text::default().line(format!("{} wrote {} ({} bytes)", done.node_id, done.path, done.bytes));
    text = text.line(if done.whole {
        "it begins with the process: funk-replay runs it again"
    } else {
        "it begins in the middle: funk-replay tells what went in, and cannot run it again"
    });
    Ok(good(json, text))
}
