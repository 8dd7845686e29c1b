//! The protocol's stories, played again: what comes out must be what stands in
//! the file. `FUNK_REWRITE=1` writes what comes out into the files instead.

#![allow(clippy::unwrap_used, reason = "helpers of a test fail as the test does")]

use std::path::{Path, PathBuf};

use funk_tests::transcript;

fn stories() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "txt"));
    files.sort();
    files
}

#[test]
fn the_stories_happen_as_they_are_written() {
    let rewrite = std::env::var_os("FUNK_REWRITE").is_some();
    let mut differ = Vec::new();
    for path in stories() {
        let written = std::fs::read_to_string(&path).unwrap();
        let told = transcript::run(&written);
        if told == written {
            continue;
        }
        if rewrite {
            std::fs::write(&path, told).unwrap();
            continue;
        }
        let line = written.lines().zip(told.lines()).position(|(a, b)| a != b);
        let at = line.unwrap_or_else(|| written.lines().count().min(told.lines().count()));
        let of = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
        let place = format!("{}:{}", path.file_name().unwrap_or_default().to_string_lossy(), at + 1);
        differ.push(format!("{place}\n  written: {}\n  happens: {}", of(&written), of(&told)));
    }
    assert!(differ.is_empty(), "{}\nIf what happens is right: make stories", differ.join("\n"));
}

#[test]
fn there_is_a_story_for_each_part_of_the_protocol() {
    let names: Vec<_> = stories().iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    for part in ["membership", "elections", "handover", "leases"] {
        assert!(names.iter().any(|name| name.starts_with(part)), "no story about {part}: {names:?}");
    }
}
