//! The shard functions give what their documentation freezes.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use funk_rpc::{Key, shard_of};

const PAGE: &str = include_str!("../../docs/sharding.md");

fn key(text: &str) -> Key {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(text) => Key::from(text),
        None => text.parse().map_or_else(|_| Key::Unsigned(text.parse().unwrap()), Key::Signed),
    }
}

#[test]
fn every_test_vector_of_the_documentation_holds() {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "));
    let (mut integers, mut strings, mut wrong) = (0, 0, Vec::new());
    for (text, numbers) in rows {
        let (shards, expected) = numbers.split_once(" | ").unwrap();
        let key = key(text);
        match &key {
            Key::Bytes(_) => strings += 1,
            _ => integers += 1,
        }
        let shard = shard_of(&key, shards.parse().unwrap()).unwrap().0.to_string();
        if shard != expected {
            wrong.push(format!("{text} among {shards}: {shard}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(integers >= 10 && strings >= 10, "{integers} integers and {strings} strings were read");
}
