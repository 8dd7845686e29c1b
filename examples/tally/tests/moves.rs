//! Additions that take 400 ms, while nodes are drained, restarted and killed: none fails, is lost or counts twice.

#[path = "../../greeter/tests/support/process.rs"]
mod process;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use funk::client::{ClientOptions, Seed};
use funk::grpc::http::Uri;
use funk::{Client, Node, NodeBuilder, Participation};
use funk_tally::Tallies;
use funk_tally::pb::AddRequest;
use funk_tally::pb::tally_client::TallyClient;
use process::{Process, has_a_network_of_its_own};
use rusqlite::Connection;
use rustix::process::Signal;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(120);
/// Polling interval, for what no event announces.
const LOOK: Duration = Duration::from_millis(20);
/// Longer than the lease, which is 150 ms.
const WORK: &str = "400";
/// Between two additions. `make moves` and its like measure at more.
const PAUSE: Duration = Duration::from_millis(10);
const NODES: usize = 5;

/// Nodes of both runtimes, with one store.
struct Cluster {
    dir: PathBuf,
    nodes: Vec<Process>,
    watcher: Node,
}

impl Cluster {
    async fn start(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tally-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a directory can be made");
        let watcher = NodeBuilder::new("tally".parse().expect("a legal name"))
            .interface(Ipv4Addr::LOCALHOST.into())
            .participation(Participation::Learner)
            .shards(100)
            .start()
            .expect("it starts");
        let mut cluster = Self { dir, nodes: Vec::new(), watcher };
        for node in 0..NODES {
            let process = cluster.process(node, if node == 0 { &["--bootstrap"] } else { &[] });
            cluster.nodes.push(process);
            if node == 0 {
                cluster.abstain().await;
            }
            cluster.owning(node + 1).await;
        }
        cluster
    }

    /// The watcher serves nothing.
    async fn abstain(&self) {
        while self.watcher.management().drain(self.watcher.cluster().name()).await.is_err() {
            // It is no member yet.
            sleep(LOOK).await;
        }
    }

    fn process(&self, node: usize, flags: &[&str]) -> Process {
        let programs = [env!("CARGO_BIN_EXE_tally"), env!("CARGO_BIN_EXE_tally-smol")];
        let (store, data) = (self.store(), self.dir.join(format!("n{node}")));
        let mut arguments = vec![store.to_str().expect("text"), data.to_str().expect("text")];
        arguments.extend(flags);
        Process::start("env", &[&[&format!("TALLY_WORK={WORK}"), programs[node % 2]], &arguments[..]].concat())
            .expect("it starts")
    }

    fn store(&self) -> PathBuf {
        self.dir.join("totals.db")
    }

    /// Waits until so many nodes own shards, and nothing moves.
    async fn owning(&self, count: usize) {
        let mut watch = self.watcher.cluster().watch();
        loop {
            let routes = self.watcher.cluster().routes();
            let shards = routes.shards();
            let is_at_rest = (0..shards)
                .all(|shard| matches!(routes.place(funk::id::ShardId(shard)), funk::Place::There(node, _) if node.up));
            let mut owners: Vec<_> =
                (0..shards).filter_map(|shard| routes.owner_index(funk::id::ShardId(shard))).collect();
            owners.sort_unstable();
            owners.dedup();
            if is_at_rest && owners.len() == count {
                return;
            }
            let _ = timeout(LOOK, watch.changed()).await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.clear();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Additions of one to some keys, one after the other begun, whatever becomes of the others.
struct Load {
    ended: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    task: JoinHandle<Result<u64, String>>,
}

impl Load {
    async fn start(idempotent: bool) -> Self {
        let client = Client::start(ClientOptions::new("tally", vec![Seed::Mdns(Ipv4Addr::LOCALHOST)]));
        client.wait_for_endpoint("ep.tally", Instant::now() + PATIENCE).await.expect("the cluster is there");
        let mut channel = client.channel("ep.tally").routed_by(Tallies::routes());
        if idempotent {
            channel = channel.idempotent("/tally.Tally/Add");
        }
        let service = TallyClient::with_origin(channel, Uri::from_static("http://funk"));
        let (ended, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let task = tokio::spawn({
            let (ended, answered) = (Arc::clone(&ended), Arc::clone(&answered));
            async move {
                let _client = client;
                let mut calls = Vec::new();
                for number in 0_u64.. {
                    if ended.load(Ordering::SeqCst) {
                        break;
                    }
                    let (mut service, answered) = (service.clone(), Arc::clone(&answered));
                    calls.push(tokio::spawn(async move {
                        let (key, id) = (format!("key {}", number % 61), format!("addition {number}"));
                        let added = service.add(AddRequest { key, amount: 1, id }).await;
                        answered.fetch_add(1, Ordering::SeqCst);
                        added.map_err(|status| format!("addition {number}: {status}"))
                    }));
                    sleep(PAUSE).await;
                }
                let count = calls.len() as u64;
                for call in calls {
                    call.await.map_err(|error| error.to_string())??;
                }
                Ok(count)
            }
        });
        let load = Self { ended, answered, task };
        load.goes_on(100).await;
        load
    }

    /// Waits for so many more answers.
    async fn goes_on(&self, more: u64) {
        let wanted = self.answered.load(Ordering::SeqCst) + more;
        while self.answered.load(Ordering::SeqCst) < wanted && !self.task.is_finished() {
            sleep(LOOK).await;
        }
    }

    /// Ends it: every addition was answered, and the store has each once.
    async fn end(self, cluster: &Cluster) {
        self.ended.store(true, Ordering::SeqCst);
        let added = self.task.await.expect("nothing panics there").expect("no addition fails");
        let store = Connection::open(cluster.store()).expect("it is there");
        let sum: i64 =
            store.query_row("SELECT sum(total) FROM totals", [], |row| row.get(0)).expect("there are totals");
        assert_eq!(u64::try_from(sum), Ok(added), "of {added} additions the store has {sum}");
        println!("{added} additions");
    }
}

fn run(test: &str, body: impl Future<Output = ()>) {
    if has_a_network_of_its_own(test) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("it starts");
        runtime.block_on(async { timeout(PATIENCE, body).await.expect("the test hangs") });
    }
}

#[test]
fn no_addition_fails_while_each_node_is_restarted_in_turn() {
    run("no_addition_fails_while_each_node_is_restarted_in_turn", async {
        let mut cluster = Cluster::start("rolling").await;
        let load = Load::start(false).await;
        for node in 0..NODES {
            let old = cluster.nodes.remove(node);
            old.signal(Signal::TERM);
            let ended = tokio::task::spawn_blocking(|| old.end()).await.expect("nothing panics there");
            assert_eq!(ended, (Some(0), String::new()));
            let new = cluster.process(node, &[]);
            cluster.nodes.insert(node, new);
            cluster.owning(NODES).await;
            load.goes_on(100).await;
        }
        load.end(&cluster).await;
    });
}

#[test]
fn an_addition_that_is_sent_again_after_a_kill_counts_once() {
    run("an_addition_that_is_sent_again_after_a_kill_counts_once", async {
        let mut cluster = Cluster::start("kill").await;
        let load = Load::start(true).await;
        for node in [0, 3] {
            cluster.nodes[node].signal(Signal::KILL);
            load.goes_on(200).await;
            cluster.nodes[node] = cluster.process(node, &[]);
            cluster.owning(NODES).await;
        }
        load.end(&cluster).await;
    });
}
