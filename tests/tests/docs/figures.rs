//! Figures in the pages that are bounds of the code: each is written from the
//! constant, so a changed bound fails here until the page says so too.

use std::time::Duration;

use funk_proto::limits;
use funk_tests::blackbox::workspace;
use funk_tests::pages::read;

/// 8,192
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn kib(bytes: usize) -> String {
    format!("{} KiB", bytes >> 10)
}

fn mib(bytes: usize) -> String {
    format!("{} MiB", bytes >> 20)
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

/// In words, as running text has it.
fn in_words(time: Duration) -> &'static str {
    match time.as_secs() {
        1 => "a second",
        3 => "three seconds",
        10 => "ten seconds",
        _ => "(this test lacks the word)",
    }
}

/// Each page with what it must say.
fn figures() -> Vec<(&'static str, String)> {
    let entries = usize::try_from(limits::SNAPSHOT_AFTER_ENTRIES).expect("it fits");
    vec![
        (
            "docs/durability.md",
            format!("grown by {} entries or {}", thousands(entries), mib(limits::SNAPSHOT_AFTER_BYTES)),
        ),
        ("docs/durability.md", format!("in chunks of {}", kib(limits::SNAPSHOT_CHUNK_BYTES))),
        ("docs/durability.md", format!("more than {} wait for the disk", mib(funk_io::limits::STORE_QUEUE_BYTES_MAX))),
        ("docs/interfaces.md", format!("A node takes {} watchers", thousands(funk_rpc::limits::CLUSTER_WATCHERS_MAX))),
        ("docs/interfaces.md", format!("on {} connections", thousands(funk_rpc::limits::HTTP_CONNECTIONS_MAX))),
        ("docs/interfaces.md", format!("the tags of a node take {} bytes at most", limits::TAG_BYTES_MAX)),
        ("docs/interfaces.md", format!("deadline up to {}", seconds(funk_rpc::limits::CALLER_WAIT_MAX))),
        ("docs/ctrlc.md", format!("(default 5 s, at most {})", seconds(funk_rpc::limits::CALLER_WAIT_MAX))),
        ("docs/client.md", format!("A node takes {} watchers", thousands(funk_rpc::limits::CLUSTER_WATCHERS_MAX))),
        (
            "docs/interfaces.md",
            format!("reads nothing for {} is disconnected", seconds(funk_rpc::limits::WATCH_SEND_MAX)),
        ),
        (
            "docs/interfaces.md",
            format!("does not reach that epoch within {}", seconds(funk_rpc::limits::WATCH_BEHIND_MAX)),
        ),
        ("docs/interfaces.md", format!("and take {} where it gives none", seconds(funk_rpc::limits::FORWARD_WAIT_MAX))),
        ("docs/interfaces.md", format!("appends up to {} to the replicated log", kib(limits::PROPOSAL_BYTES_MAX))),
        ("docs/client.md", format!("At most {} times", funk_rpc::limits::CLIENT_TRIES_MAX)),
        (
            "docs/client.md",
            format!(
                "{} at once, refilled at {} per second",
                funk_rpc::limits::CLIENT_RETRY_BUDGET,
                funk_rpc::limits::CLIENT_RETRIES_PER_SECOND
            ),
        ),
        ("docs/client.md", format!("not more than {} of its body", kib(funk_rpc::limits::REPLAY_BYTES_MAX))),
        ("docs/client.md", format!("dropped when its node leaves, {} at most", funk_rpc::limits::POOL_CONNECTIONS_MAX)),
        (
            "docs/operations.md",
            format!(
                "latest {} events and {} older leader changes",
                funk_rpc::limits::EVENTS_KEPT_MAX,
                funk_rpc::limits::LEADERS_KEPT_MAX
            ),
        ),
        ("docs/operations.md", format!("serves {} such clients", funk_rpc::limits::EVENT_CLIENTS_MAX)),
        (
            "docs/operations.md",
            format!("exits 0 within {}", in_words(limits::DRAIN_TIMEOUT + funk_io::limits::LEAVE_MARGIN)),
        ),
        (
            "docs/operations.md",
            format!("takes longer than {}; one line names", in_words(funk_io::limits::STORE_STALL_MAX)),
        ),
        ("docs/operations.md", format!("kept a write waiting for {} hands", in_words(limits::LEADER_STALL_MAX))),
        ("docs/metrics.md", format!("at most {} pairs", thousands(funk_rpc::limits::METRIC_SERIES_MAX))),
        ("docs/discovery.md", format!("checks for {} ms", limits::BOOTSTRAP_PROBE.as_millis())),
        ("docs/ctrlc.md", format!("none beyond {} ranges", thousands(funk_rpc::limits::CLUSTER_MESSAGE_RANGES_MAX))),
    ]
}

#[test]
fn bounds_that_pages_name_are_those_of_the_code() {
    let mut wrong = Vec::new();
    for (page, figure) in figures() {
        let text = read(&workspace().join(page));
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if !text.contains(&figure) {
            wrong.push(format!("{page} does not say `{figure}`"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn numbers_are_written_as_the_pages_write_them() {
    assert_eq!([5, 512, 4_096, 16_384, 1_048_576].map(thousands), ["5", "512", "4,096", "16,384", "1,048,576"]);
}
