//! However an example's process ends, it ends in order: with the right exit code, and having left where it could.

#[path = "support/process.rs"]
mod process;

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use funk::id::NodeName;
use funk::status::{GossipStatus, MemberStatus, RaftStatus};
use funk::{ManagementError, Node, NodeBuilder};
use process::{Process, has_a_network_of_its_own};
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);
/// Polling interval, for what no event announces.
const LOOK: Duration = Duration::from_millis(20);
/// Files of a node whose disk is full may not grow past this, in bytes.
const FULL_BYTES: u64 = 2_000;

/// The greeter on each runtime.
const PROGRAMS: [&str; 2] = [env!("CARGO_BIN_EXE_sharded"), env!("CARGO_BIN_EXE_smol")];

/// A greeter that began the cluster and leads it, and a member in this process that watches.
struct Watched {
    _leader: Process,
    watcher: Node,
    known: BTreeSet<String>,
}

impl Watched {
    async fn start() -> Self {
        let leader = Process::start(PROGRAMS[0], &["--bootstrap"]).expect("it starts");
        let watcher = NodeBuilder::new("greetings".parse().expect("a legal name"))
            .name("watcher".parse().expect("a legal name"))
            .interface([127, 0, 0, 1].into())
            .start()
            .expect("it starts");
        let mut watched = Self { _leader: leader, watcher, known: BTreeSet::new() };
        // The leader, and the watcher itself.
        watched.grown(2).await;
        watched
    }

    async fn members(&self) -> Vec<MemberStatus> {
        self.watcher.cluster().status().await.expect("it runs").members
    }

    /// Waits until there are so many members, and gives the name of one that is new and has shards.
    async fn grown(&mut self, count: usize) -> NodeName {
        loop {
            let members = self.members().await;
            let members: Vec<_> =
                members.iter().filter(|member| member.raft != RaftStatus::None && member.shards > 0).collect();
            if members.len() == count {
                let new = members.iter().find(|member| !self.known.contains(&member.name)).expect("one is new");
                let name = new.name.parse().expect("a member has a legal name");
                self.known = members.iter().map(|member| member.name.clone()).collect();
                return name;
            }
            sleep(LOOK).await;
        }
    }

    /// Starts a further node, and gives its name.
    async fn add(&mut self, program: &str, arguments: &[&str]) -> (Process, NodeName) {
        let process = Process::start(program, arguments).expect("it starts");
        let count = self.known.len() + 1;
        (process, self.grown(count).await)
    }

    /// Has a member removed; a busy machine may be without a leader for a moment.
    async fn remove(&self, name: &NodeName) {
        while let Err(error) = self.watcher.management().remove_member(name).await {
            if matches!(error, ManagementError::UnknownMember(_)) {
                return;
            }
            sleep(LOOK).await;
        }
    }

    /// Has an entry committed, likewise.
    async fn propose(&self, entry: Bytes) {
        while self.watcher.cluster().propose(entry.clone()).await.is_err() {
            sleep(LOOK).await;
        }
    }

    /// Waits until gossip shows `name` as `wanted`, and no shard is left with it.
    async fn until_gone(&mut self, name: &NodeName, wanted: GossipStatus) {
        loop {
            let members = self.members().await;
            let member = members.iter().find(|member| member.name == name.as_str());
            if member.is_none_or(|member| member.gossip == wanted && member.shards == 0) {
                break;
            }
            assert!(
                wanted == GossipStatus::Failed || member.is_none_or(|member| member.gossip != GossipStatus::Failed)
            );
            sleep(LOOK).await;
        }
        self.known.remove(name.as_str());
    }
}

/// Runs the test's body in a network of its own, and fails it if it hangs.
fn run(test: &str, body: impl Future<Output = ()>) {
    if has_a_network_of_its_own(test) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("it starts");
        runtime.block_on(async { timeout(PATIENCE, body).await.expect("the test hangs") });
    }
}

/// The exit code of a process, and what it said, without blocking the watcher.
async fn end(process: Process) -> (Option<i32>, String) {
    tokio::task::spawn_blocking(|| process.end()).await.expect("nothing panics there")
}

#[test]
fn a_signal_makes_it_leave_and_exit_with_0() {
    run("a_signal_makes_it_leave_and_exit_with_0", async {
        let mut cluster = Watched::start().await;
        for program in PROGRAMS {
            for signal in [Signal::TERM, Signal::INT] {
                let (process, name) = cluster.add(program, &[]).await;
                process.signal(signal);
                assert_eq!(end(process).await, (Some(0), String::new()), "{program}: {signal:?}");
                cluster.until_gone(&name, GossipStatus::Left).await;
            }
        }
    });
}

#[test]
fn a_node_that_an_operator_removes_says_so_and_exits_with_0() {
    run("a_node_that_an_operator_removes_says_so_and_exits_with_0", async {
        let mut cluster = Watched::start().await;
        for program in PROGRAMS {
            let (process, name) = cluster.add(program, &[]).await;
            cluster.remove(&name).await;
            let (code, said) = end(process).await;
            assert_eq!(code, Some(0), "{program}: {said}");
            assert!(said.contains("removed") && said.lines().count() == 1, "{program}: {said}");
            cluster.until_gone(&name, GossipStatus::Left).await;
        }
    });
}

#[test]
fn a_node_whose_disk_is_full_says_so_and_exits_with_1_and_the_others_serve_on() {
    run("a_node_whose_disk_is_full_says_so_and_exits_with_1_and_the_others_serve_on", async {
        let mut cluster = Watched::start().await;
        for (number, program) in PROGRAMS.into_iter().enumerate() {
            let place = std::env::temp_dir().join(format!("greeter-full-{}-{number}", std::process::id()));
            let directory = place.to_str().expect("text").to_owned();
            let (process, name) = cluster.add(program, &[&directory]).await;
            let full = Rlimit { current: Some(FULL_BYTES), maximum: None };
            prlimit(Some(process.id()), Resource::Fsize, full).expect("it is a child of this process");
            // An entry of the log is one for this disk too.
            let entry: Bytes = vec![0; 8 << 10].into();
            cluster.propose(entry).await;
            let (code, said) = end(process).await;
            assert_eq!(code, Some(1), "{program}: {said}");
            assert!(said.contains(&directory) && said.contains("File too large"), "{program}: {said}");
            assert_eq!(said.lines().count(), 1, "{program}: {said}");
            loop {
                let table = cluster.watcher.cluster().routes();
                if table.nodes().iter().all(|node| node.name != name || !node.up) {
                    break;
                }
                sleep(LOOK).await;
            }
            cluster.remove(&name).await;
            cluster.known.remove(name.as_str());
            std::fs::remove_dir_all(place).expect("it is there");
        }
    });
}
