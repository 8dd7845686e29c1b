//! A node with a data directory through the real driver.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use funk_proto::Event;
use funk_proto::id::{LogIndex, ShardId};

use super::node::{config, serving};
use super::{LOOPBACK, run};
use crate::runtime::Runtime;
use crate::{Cluster, DataDir, Options, Sockets, StateMachine, StopReason, start};

/// A directory that is removed with the test.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("funk-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory is writable");
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What is left of it is the operating system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn durable<R: Runtime>(directory: &Temporary) -> Cluster {
    durable_with::<R>(directory, None)
}

fn durable_with<R: Runtime>(directory: &Temporary, state_machine: Option<Box<dyn StateMachine>>) -> Cluster {
    let sockets = Sockets::any(LOOPBACK).expect("loopback has free ports");
    let mut config = config("kept");
    config.bootstrap = true;
    let data = DataDir::open(&directory.0).expect("nobody else has it");
    start::<R>(Options { state_machine, ..Options::new(config, sockets).with_data(data) }).expect("the node starts")
}

/// A node that is started again with its data directory is the same member of
/// the same cluster, and has everything that was acknowledged.
pub fn a_data_directory_outlives_its_process<R: Runtime>() {
    run::<R>(async {
        let directory = Temporary::new();
        let first = durable::<R>(&directory);
        serving(&first).await;
        for n in 0..20 {
            first.propose(Bytes::from(format!("{n}"))).await.expect("it leads");
        }
        let before = first.status().await.expect("it runs");
        let locked = DataDir::open(&directory.0).expect_err("the first node has it");
        assert!(locked.to_string().contains("another process"), "{locked}");
        let mut events = first.events();
        drop(first);
        while events.next().await.is_ok() {}

        let second = durable::<R>(&directory);
        let mut events = second.events();
        serving(&second).await;
        let after = second.status().await.expect("it runs");
        assert_eq!((after.id, after.cluster), (before.id, before.cluster));
        assert!(after.epoch > before.epoch && after.applied_index > before.applied_index);
        let index = second.propose(Bytes::from_static(b"more")).await.expect("it leads");
        assert!(index > before.commit_index);
        let committed = Event::Committed { index, bytes: Bytes::from_static(b"more") }.into();
        while events.next().await.expect("it runs") != committed {}
    });
}

/// The lock of a data directory says that nobody serves under the former boots:
/// it is free only when no guard of the node may be valid any more.
pub fn a_data_directory_is_locked_while_anybody_may_be_inside<R: Runtime>() {
    const LEASE: Duration = Duration::from_secs(3);
    run::<R>(async {
        let directory = Temporary::new();
        let sockets = Sockets::any(LOOPBACK).expect("loopback has free ports");
        let mut config = config("kept");
        (config.bootstrap, config.timing.lease) = (true, LEASE);
        let data = DataDir::open(&directory.0).expect("nobody else has it");
        let first = start::<R>(Options::new(config, sockets).with_data(data)).expect("the node starts");
        serving(&first).await;
        let guard = first.guard(ShardId(0)).expect("it serves");
        let mut events = first.events();
        drop(first);
        while events.next().await.is_ok() {}
        DataDir::open(&directory.0).expect_err("a handler is inside, and the lease has not run out");
        let until = Instant::now() + LEASE * 10;
        while DataDir::open(&directory.0).is_err() {
            assert!(Instant::now() < until, "it is let go when the lease has run out");
            std::thread::yield_now();
        }
        assert!(!guard.is_valid());
    });
}

/// How many proposals it has seen, and of which size in all.
#[derive(Clone, Debug, Default)]
struct Sum(Arc<Mutex<(u64, u64)>>);

impl Sum {
    fn get(&self) -> (u64, u64) {
        *self.0.lock().expect("nobody panics with it")
    }
}

impl StateMachine for Sum {
    fn apply(&mut self, _: LogIndex, bytes: &Bytes) {
        let mut sum = self.0.lock().expect("nobody panics with it");
        *sum = (sum.0 + 1, sum.1 + bytes.len() as u64);
    }

    fn snapshot(&mut self) -> Bytes {
        let (count, size) = self.get();
        Bytes::from([count.to_be_bytes(), size.to_be_bytes()].concat())
    }

    fn restore(&mut self, _: LogIndex, state: &Bytes) {
        let number = |at: usize| u64::from_be_bytes(state[at..at + 8].try_into().expect("two numbers"));
        *self.0.lock().expect("nobody panics with it") = (number(0), number(8));
    }
}

/// The log is cut behind a snapshot, which holds the application's state too.
pub fn an_application_state_outlives_compaction<R: Runtime>() {
    const SIZE: usize = 128 << 10;
    const COUNT: u64 = 300;
    run::<R>(async {
        let directory = Temporary::new();
        let first = durable_with::<R>(&directory, Some(Box::new(Sum::default())));
        serving(&first).await;
        for _ in 0..COUNT {
            first.propose(Bytes::from(vec![1; SIZE])).await.expect("it leads");
        }
        let mut events = first.events();
        drop(first);
        while events.next().await.is_ok() {}
        let files = std::fs::read_dir(&directory.0).expect("it is there");
        let bytes: u64 = files.map(|file| file.and_then(|file| file.metadata()).map_or(0, |meta| meta.len())).sum();
        assert!(bytes < COUNT * SIZE as u64 / 2, "{bytes} bytes are left of the log");

        let sum = Sum::default();
        let second = durable_with::<R>(&directory, Some(Box::new(sum.clone())));
        serving(&second).await;
        assert_eq!(sum.get(), (COUNT, COUNT * SIZE as u64));
    });
}

/// A write that fails stops the node, with its gate closed and the file named.
pub fn a_failed_write_stops_the_node<R: Runtime>() {
    run::<R>(async {
        let directory = Temporary::new();
        let cluster = durable::<R>(&directory);
        serving(&cluster).await;
        // A log file cannot be begun where a directory has its name; the next one
        // is due when this one is full.
        std::fs::remove_dir_all(&directory.0).expect("it is ours");
        let why = loop {
            let large = Bytes::from(vec![7; funk_proto::limits::PROPOSAL_BYTES_MAX / 2]);
            if cluster.propose(large).await.is_err() {
                break cluster.stopped().await;
            }
        };
        let StopReason::Store(error) = why else { panic!("{why}") };
        assert!(error.path.starts_with(&directory.0), "{error}");
        assert!(cluster.guard(ShardId(0)).is_err());
    });
}

/// What is done to a directory and the log in it.
type Harm = fn(&Path, &Path);

/// A node whose directory or log is not in its place any more stops, though nothing is asked of it.
pub fn a_data_directory_that_is_gone_stops_an_idle_node<R: Runtime>() {
    let ways: [(&str, Harm); 3] = [
        ("deleted", |directory, _| std::fs::remove_dir_all(directory).expect("it is ours")),
        ("renamed", |directory, _| std::fs::rename(directory, directory.with_extension("away")).expect("it is ours")),
        ("replaced", |_, log| {
            let copy = log.with_extension("copy");
            std::fs::copy(log, &copy).and_then(|_| std::fs::rename(&copy, log)).expect("it is ours");
        }),
    ];
    for (way, harm) in ways {
        run::<R>(async move {
            let directory = Temporary::new();
            let cluster = durable::<R>(&directory);
            serving(&cluster).await;
            let log = log_of(&directory.0);
            harm(&directory.0, &log);
            let why = cluster.stopped().await;
            let StopReason::Store(error) = why else { panic!("{way}: {why}") };
            let expected = if way == "replaced" { &log } else { &directory.0 };
            assert_eq!(&error.path, expected, "{way}: {error}");
            assert!(cluster.guard(ShardId(0)).is_err(), "{way}");
            // What is left of it is the operating system's to clean.
            let _ = std::fs::remove_dir_all(directory.0.with_extension("away"));
        });
    }
}

/// A log file that lost its end is refused: what was acknowledged may have been there.
pub fn a_log_that_lost_its_end_is_refused<R: Runtime>() {
    for cut in [1, 100, 4096] {
        run::<R>(async move {
            let directory = Temporary::new();
            // The second start goes on with what the first one left, in a file of its own.
            for _ in 0..2 {
                let cluster = durable::<R>(&directory);
                serving(&cluster).await;
                for n in 0..20 {
                    cluster.propose(Bytes::from(format!("{n}"))).await.expect("it leads");
                }
                let mut events = cluster.events();
                drop(cluster);
                while events.next().await.is_ok() {}
            }
            let log = log_of(&directory.0);
            let file = std::fs::OpenOptions::new().write(true).open(&log).expect("it is ours");
            let length = file.metadata().expect("it is there").len();
            DataDir::open(&directory.0).expect("nothing is missing yet");
            file.set_len(if cut == 1 { length - 1 } else { cut }).expect("it is ours");
            let refused = DataDir::open(&directory.0).expect_err("its end is gone");
            assert_eq!(refused.path, log);
            assert!(refused.why.contains("cut short"), "{refused}");
        });
    }
}

/// The newest log file in a directory.
fn log_of(directory: &Path) -> PathBuf {
    let names = std::fs::read_dir(directory).expect("it is there").filter_map(|entry| Some(entry.ok()?.path()));
    let logs = names.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-")));
    logs.max().expect("the node has written")
}
