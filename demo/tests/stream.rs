//! Streams of real processes when the owner of their shard is killed: through
//! a node that does not own the shard, and by the client library.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use funk::client::{Client, ClientOptions, ClusterView, Seed};
use funk::discovery::JoinAddress;
use funk::grpc::{BoxFuture, Pool};
use funk::id::ShardId;
use funk::tokio::Tokio;
use funk_demo::pb::LiffRequest;
use funk_demo::pb::demo_service_client::DemoServiceClient;
use funk_demo::routes;
use http::Uri;
use tonic::body::Body;
use tonic::{Code, Status, Streaming};

/// Far more than any step takes; what a step took is printed.
const GENEROUS: Duration = Duration::from_secs(20);
/// A shard that is looked at.
const ID: i64 = 4_711;

/// A node that is killed at the end of the test at the latest.
struct Node {
    name: String,
    child: Child,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(cluster: &str, number: usize, serf: SocketAddr, join: SocketAddr) -> Node {
    let name = format!("n{number}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.env_clear().args(["--cluster-name", cluster, "--interface", "127.0.0.1", "--zeroconf=false"]);
    command.args(["--node-id", &name, "--serf-endpoint", &serf.to_string()]);
    if serf == join {
        command.arg("--bootstrap");
    } else {
        command.args(["--join", &join.to_string()]);
    }
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    Node { name, child }
}

/// Ends when the client's view is as wanted.
async fn until(client: &Client<Tokio>, wanted: impl Fn(&ClusterView) -> bool) {
    let waiting = async {
        loop {
            let changed = client.changed();
            if wanted(&client.view()) {
                return;
            }
            changed.await;
        }
    };
    tokio::time::timeout(GENEROUS, waiting).await.expect("the cluster gets there");
}

fn at_rest(view: &ClusterView, nodes: usize) -> bool {
    let owned = |node: &str| {
        let owner = |shard| view.owner(ShardId(shard)).is_some_and(|owner| owner.name == node);
        (0..view.shards()).filter(|shard| owner(*shard)).count()
    };
    let shares: Vec<_> = view.nodes().iter().map(|node| owned(&node.name)).collect();
    shares.len() == nodes && shares.iter().all(|share| *share > 0) && shares.iter().sum::<usize>() == 10_000
}

type Service<C> = DemoServiceClient<C>;

/// A stream that was answered once; what is sent into it, and its answers.
struct Chat {
    requests: tokio::sync::mpsc::Sender<LiffRequest>,
    answers: Streaming<funk_demo::pb::LiffResponse>,
}

impl Chat {
    async fn begin<C>(mut service: Service<C>) -> Result<(Self, String), Status>
    where
        C: tower_service::Service<
                http::Request<Body>,
                Response = http::Response<Body>,
                Error: Into<Box<dyn std::error::Error + Send + Sync>>,
                Future: Send,
            > + Send,
    {
        let (requests, taken) = tokio::sync::mpsc::channel(1);
        requests.try_send(LiffRequest { id: ID }).unwrap();
        let taken = futures_lite::stream::unfold(taken, |mut taken| async { Some((taken.recv().await?, taken)) });
        let answers = service.chat(taken).await?.into_inner();
        let mut chat = Self { requests, answers };
        let first = chat.answers.message().await?.expect("each request is answered");
        Ok((chat, first.node_id))
    }

    /// Asks until that goes wrong, and says how.
    async fn ask_until_it_breaks(mut self) -> Status {
        loop {
            let _ = self.requests.send(LiffRequest { id: ID }).await;
            match self.answers.message().await {
                Ok(Some(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
                Ok(None) => panic!("a broken stream says so"),
                Err(status) => return status,
            }
        }
    }
}

async fn timed<T>(what: BoxFuture<T>) -> (T, Duration) {
    let began = Instant::now();
    (tokio::time::timeout(GENEROUS, what).await.expect("it ends"), began.elapsed())
}

#[test]
fn a_stream_whose_owner_is_killed_ends_retriable_and_the_client_recovers() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(the_owner_is_killed());
}

async fn the_owner_is_killed() {
    let serf = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let addresses = [serf(), serf(), serf()];
    let cluster = format!("stream-{}", std::process::id());
    let mut nodes: Vec<_> =
        addresses.iter().enumerate().map(|(number, at)| start(&cluster, number, *at, addresses[0])).collect();
    let seeds = addresses.iter().map(|at| Seed::Gossip(JoinAddress::Address(*at)));
    let client = Client::<Tokio>::start(ClientOptions::new(&cluster, seeds.collect()));
    until(&client, |view| at_rest(view, 3)).await;

    let view = client.view();
    let owner = view.owner(ShardId(u32::try_from(ID).unwrap())).unwrap().name.clone();
    let wrong = view.serving("ep.demo").find(|(node, _)| node.name != owner).unwrap().1;
    let through_wrong = Service::new(Pool::<Tokio>::new().at(wrong));
    let channel = client.channel("ep.demo").routed_by(routes()).idempotent("/demo.DemoService/Chat");
    let library = Service::with_origin(channel, Uri::from_static("http://funk"));

    let (passed_on, served) = Chat::begin(through_wrong.clone()).await.unwrap();
    assert_eq!(served, owner, "the node that was asked passed the stream on");
    let (direct, served) = Chat::begin(library.clone()).await.unwrap();
    assert_eq!(served, owner);
    let passed_on = tokio::spawn(passed_on.ask_until_it_breaks());
    let direct = tokio::spawn(direct.ask_until_it_breaks());

    let killed = nodes.iter_mut().find(|node| node.name == owner).unwrap();
    killed.child.kill().unwrap();
    let (broken, took) = timed(Box::pin(async { (passed_on.await.unwrap(), direct.await.unwrap()) })).await;
    println!("the callers were told after {took:?}: {:?}, {:?}", broken.0.message(), broken.1.message());
    assert_eq!((broken.0.code(), broken.1.code()), (Code::Unavailable, Code::Unavailable), "{broken:?}");

    // The caller does nothing but call again; the library knows, or finds out, who serves now.
    let (again, took) = timed(Box::pin(async move { Chat::begin(library).await })).await;
    let (_chat, served) = again.unwrap();
    println!("the next stream was answered after {took:?}, by {served}");
    assert_ne!(served, owner);
    let (_chat, served_through_wrong) = Chat::begin(through_wrong).await.unwrap();
    assert_eq!(served_through_wrong, served);
}
