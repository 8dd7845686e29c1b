//! The service of the examples, as one would write it without a cluster:
//!
//! | program | shows |
//! |---|---|
//! | `sharded` | the service, sharded, on tokio |
//! | `smol` | the same on smol; both are nodes of one cluster |
//! | `greet` | a client that is no node |
//! | `replicated` | a state of one's own on the log |
//! | `fenced` | what a store must do with the epoch of a write |

pub mod pb;

use funk::id::NodeName;
use tonic::{Request, Response, Status};

use crate::pb::greeter_server::Greeter;
use crate::pb::{GreetRequest, GreetResponse};

/// Greets in the name of a node.
#[derive(Clone, Debug)]
pub struct MyGreeter(pub NodeName);

#[tonic::async_trait]
impl Greeter for MyGreeter {
    async fn greet(&self, request: Request<GreetRequest>) -> Result<Response<GreetResponse>, Status> {
        let greeting = format!("hello {}, says {}", request.into_inner().name, self.0);
        Ok(Response::new(GreetResponse { greeting }))
    }
}
