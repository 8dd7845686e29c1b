//! A client that is no node: asks for a greeting for each of its arguments,
//! from the node that owns the shard of the name.
//!
//! ```text
//! cargo run -p funk-greeter --bin greet -- ada grace
//! ```

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use funk::client::{ClientOptions, Seed};
use funk::grpc::http::Uri;
use funk::grpc::prost::Message;
use funk::{Client, Key, Routes};
use funk_greeter::pb::GreetRequest;
use funk_greeter::pb::greeter_client::GreeterClient;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seeds = vec![Seed::Mdns(Ipv4Addr::LOCALHOST)];
    let client = Client::start(ClientOptions::new("greetings", seeds));
    client.wait_for_endpoint("ep.greet", Instant::now() + Duration::from_secs(5)).await?;
    let key = |message: &[u8]| Some(Key::from(GreetRequest::decode(message).ok()?.name.as_str()));
    let routes = Routes::new().by_message("/greet.Greeter/Greet", key);
    let channel = client.channel("ep.greet").routed_by(routes).idempotent("/greet.Greeter/Greet");
    let mut service = GreeterClient::with_origin(channel, Uri::from_static("http://funk"));
    for name in std::env::args().skip(1) {
        let answer = service.greet(GreetRequest { name }).await?;
        println!("{}", answer.into_inner().greeting);
    }
    Ok(())
}
