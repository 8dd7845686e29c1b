//! The demo service itself.

use std::pin::Pin;

use funk::id::NodeName;
use funk::{Key, Routes};
use futures_lite::stream::{Stream, unfold};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use crate::pb::demo_service_server::DemoService;
use crate::pb::{LiffRequest, LiffResponse};
use crate::words::definition;

/// Answers in the name of one node.
#[derive(Clone, Debug)]
pub(crate) struct Definitions(pub(crate) NodeName);

impl Definitions {
    fn answer(&self, request: &LiffRequest) -> LiffResponse {
        let id = request.id;
        LiffResponse { id, definition: definition(id).into(), node_id: self.0.to_string() }
    }
}

#[tonic::async_trait]
impl DemoService for Definitions {
    type ChatStream = Pin<Box<dyn Stream<Item = Result<LiffResponse, Status>> + Send>>;

    async fn liff(&self, request: Request<LiffRequest>) -> Result<Response<LiffResponse>, Status> {
        Ok(Response::new(self.answer(request.get_ref())))
    }

    async fn chat(&self, requests: Request<Streaming<LiffRequest>>) -> Result<Response<Self::ChatStream>, Status> {
        let answers = unfold((self.clone(), requests.into_inner()), |(node, mut requests)| async move {
            let answer = match requests.message().await {
                Ok(request) => Ok(node.answer(&request?)),
                Err(status) => Err(status),
            };
            Some((answer, (node, requests)))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// The path of `Liff`.
pub(crate) const LIFF: &str = "/demo.DemoService/Liff";
/// The path of `Chat`.
const CHAT: &str = "/demo.DemoService/Chat";

/// Both methods are routed by the ID in their first message.
pub fn routes() -> Routes {
    let key = |message: &[u8]| Some(Key::Signed(LiffRequest::decode(message).ok()?.id));
    Routes::new().by_message(LIFF, key).by_message(CHAT, key)
}
