//! The demo service itself.

use funk_proto::id::NodeName;
use funk_rpc::{Key, Routes};
use prost::Message;
use tonic::{Request, Response, Status};

use crate::pb::demo_service_server::DemoService;
use crate::pb::{LiffRequest, LiffResponse};
use crate::words::definition;

/// Answers in the name of one node.
#[derive(Clone, Debug)]
pub(crate) struct Definitions(pub(crate) NodeName);

#[tonic::async_trait]
impl DemoService for Definitions {
    async fn liff(&self, request: Request<LiffRequest>) -> Result<Response<LiffResponse>, Status> {
        let id = request.into_inner().id;
        Ok(Response::new(LiffResponse { id, definition: definition(id).into(), node_id: self.0.to_string() }))
    }
}

/// The path of `Liff`.
pub(crate) const LIFF: &str = "/demo.DemoService/Liff";

/// `Liff` is routed by its ID.
pub(crate) fn routes() -> Routes {
    Routes::new().by_message(LIFF, |message| Some(Key::Signed(LiffRequest::decode(message).ok()?.id)))
}
