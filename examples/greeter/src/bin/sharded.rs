//! A gRPC service, sharded: each name has one node that greets it.
//!
//! ```text
//! cargo run -p funk-greeter --bin sharded -- --bootstrap     # the first node
//! cargo run -p funk-greeter --bin sharded                    # others
//! ```
//!
//! A directory as an argument makes the node keep its log there.

use funk::grpc::prost::Message;
use funk::{Ended, Key, NodeBuilder, Routes};
use funk_greeter::MyGreeter;
use funk_greeter::pb::GreetRequest;
use funk_greeter::pb::greeter_server::GreeterServer;

#[tokio::main]
async fn main() -> Result<Ended, Box<dyn std::error::Error>> {
    let _ = funk::watcher::start();
    let key = |message: &[u8]| Some(Key::from(GreetRequest::decode(message).ok()?.name.as_str()));
    let routes = Routes::new().by_message("/greet.Greeter/Greet", key);
    let mut node = NodeBuilder::new("greetings".parse()?).interface([127, 0, 0, 1].into());
    node = node.service("ep.greet", routes, |cluster| GreeterServer::new(MyGreeter(cluster.name().clone())));
    for argument in std::env::args().skip(1) {
        node = if argument == "--bootstrap" { node.bootstrap(true) } else { node.data_dir(argument) };
    }
    Ok(node.start()?.run().await)
}
