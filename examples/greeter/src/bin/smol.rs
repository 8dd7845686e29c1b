//! The same service on smol. Its nodes and those of `sharded` are one cluster.
//!
//! ```text
//! cargo run -p funk-greeter --bin smol
//! ```

use funk::grpc::prost::Message;
use funk::smol::NodeBuilder;
use funk::{Ended, Key, Routes};
use funk_greeter::MyGreeter;
use funk_greeter::pb::GreetRequest;
use funk_greeter::pb::greeter_server::GreeterServer;

fn main() -> Result<Ended, Box<dyn std::error::Error>> {
    let key = |message: &[u8]| Some(Key::from(GreetRequest::decode(message).ok()?.name.as_str()));
    let routes = Routes::new().by_message("/greet.Greeter/Greet", key);
    let mut node = NodeBuilder::new("greetings".parse()?).interface([127, 0, 0, 1].into()).service(
        "ep.greet",
        routes,
        |cluster| GreeterServer::new(MyGreeter(cluster.name().clone())),
    );
    for argument in std::env::args().skip(1) {
        node = if argument == "--bootstrap" { node.bootstrap(true) } else { node.data_dir(argument) };
    }
    smol::block_on(async { Ok(node.start()?.run().await) })
}
