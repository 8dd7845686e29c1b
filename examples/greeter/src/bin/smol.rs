//! The same service on smol. Its nodes and those of `sharded` are one cluster.
//!
//! ```text
//! cargo run -p funk-greeter --bin smol
//! ```

use funk_greeter::MyGreeter;
use funk_greeter::pb::GreetRequest;
use funk_greeter::pb::greeter_server::GreeterServer;
use funk_rpc::{Key, Node, Routes};
use funk_smol::Smol;
use prost::Message;
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = |message: &[u8]| Some(Key::from(GreetRequest::decode(message).ok()?.name.as_str()));
    let routes = Routes::new().by_message("/greet.Greeter/Greet", key);
    let mut node = Node::new("greetings".parse()?, "127.0.0.1".parse()?);
    if std::env::args().any(|argument| argument == "--bootstrap") {
        node = node.bootstrap();
    }
    let mut ctrl_c = Signals::new([SIGINT])?;
    let service = |cluster: &funk_io::Cluster| GreeterServer::new(MyGreeter(cluster.name().clone()));
    smol::block_on(async {
        let running = node.start::<Smol, _>("ep.greet", routes, service)?;
        smol::unblock(move || ctrl_c.forever().next()).await;
        running.leave::<Smol>().await;
        Ok(())
    })
}
