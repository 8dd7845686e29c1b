//! Every stored input of every fuzz target, run again: none panics, and none
//! makes the code allocate out of proportion to its length. A program of its own,
//! since its allocator counts for all of it.

#![allow(clippy::unwrap_used, reason = "helpers of a test fail as the test does")]

use std::path::PathBuf;
use std::sync::Mutex;

use funk_tests::fuzz::{TARGETS, Target};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATIONS: PeakAlloc = PeakAlloc;

/// The allocator counts the whole process, so one test measures at a time.
static MEASURING: Mutex<()> = Mutex::new(());

fn stored(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = funk_tests::blackbox::workspace().join("fuzz/corpus").join(target.name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|_| panic!("no corpus {}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Runs one input; the most bytes that were allocated at once meanwhile.
fn peak(target: &Target, bytes: &[u8]) -> usize {
    let _alone = MEASURING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    ALLOCATIONS.reset_peak_usage();
    let before = ALLOCATIONS.current_usage();
    (target.run)(bytes);
    ALLOCATIONS.peak_usage().saturating_sub(before)
}

fn replay(name: &str) {
    let target = funk_tests::fuzz::target(name).expect("a target of that name");
    let stored = stored(target);
    assert!(!stored.is_empty(), "the corpus of {name} is empty");
    for (path, bytes) in stored {
        println!("{}", path.display());
        let peak = peak(target, &bytes);
        let allowed = target.base + target.growth * bytes.len();
        assert!(peak <= allowed, "{}: {peak} bytes for an input of {}", path.display(), bytes.len());
    }
}

#[test]
fn stored_gossip_streams_do_no_harm() {
    replay("gossip_stream");
    replay("gossip_compressed");
}

#[test]
fn stored_mdns_messages_do_no_harm() {
    replay("mdns_message");
}

#[test]
fn stored_gossip_datagrams_do_no_harm() {
    replay("gossip_packet");
}

#[test]
fn stored_liveness_datagrams_do_no_harm() {
    replay("liveness_datagram");
}

#[test]
fn stored_cluster_frames_do_no_harm() {
    replay("cluster_frame");
}

#[test]
fn stored_raft_messages_do_no_harm() {
    replay("raft_guard");
}

#[test]
fn stored_commands_and_snapshots_do_no_harm() {
    replay("shard_commands");
    replay("snapshot");
}

#[test]
fn stored_data_directories_do_no_harm() {
    replay("journal_files");
}

#[test]
fn stored_inputs_do_a_live_node_no_harm() {
    replay("node_inputs");
}

#[test]
fn stored_http2_connections_do_no_harm() {
    replay("http2_connection");
}

#[test]
fn stored_management_calls_do_no_harm() {
    replay("management_calls");
}

#[test]
fn every_target_has_a_corpus_and_a_program() {
    for target in TARGETS {
        assert!(!stored(target).is_empty());
        let program = format!("fuzz/fuzz_targets/{}.rs", target.name);
        assert!(funk_tests::blackbox::workspace().join(&program).is_file(), "{program} is missing");
    }
}
