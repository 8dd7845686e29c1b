//! A gRPC service, sharded: each name has one node that greets it.
//!
//! ```text
//! cargo run -p funk-greeter --bin sharded -- --bootstrap     # the first node
//! cargo run -p funk-greeter --bin sharded                    # others
//! ```

use funk_greeter::MyGreeter;
use funk_greeter::pb::GreetRequest;
use funk_greeter::pb::greeter_server::GreeterServer;
use funk_rpc::{Key, Node, Routes};
use funk_tokio::Tokio;
use prost::Message;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = |message: &[u8]| Some(Key::from(GreetRequest::decode(message).ok()?.name.as_str()));
    let routes = Routes::new().by_message("/greet.Greeter/Greet", key);
    let mut node = Node::new("greetings".parse()?, "127.0.0.1".parse()?);
    if std::env::args().any(|argument| argument == "--bootstrap") {
        node = node.bootstrap();
    }
    let service = |cluster: &funk_io::Cluster| GreeterServer::new(MyGreeter(cluster.name().clone()));
    let running = node.start::<Tokio, _>("ep.greet", routes, service)?;
    tokio::signal::ctrl_c().await?;
    running.leave::<Tokio>().await;
    Ok(())
}
