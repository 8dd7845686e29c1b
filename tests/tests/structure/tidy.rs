//! The structure of the workspace, checked: what the core may depend on, how
//! long files grow, what the adapters hold.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use funk_tests::blackbox::workspace;

/// Lines of code in a file without its unit tests.
const FILE_LINES_MAX: usize = 500;

/// Lines of a function, its signature and its last brace included.
const FUNCTION_LINES_MAX: usize = 70;

/// Lines of a runtime adapter, all of its files together.
const ADAPTER_LINES_MAX: usize = 300;

/// Crates that open sockets, start threads or drive tasks. A trailing `*` stands for any ending.
const RUNTIME_CRATES: [&str; 22] = [
    "tokio",
    "tokio-*",
    "smol",
    "smol-*",
    "async-*",
    "mio",
    "mio-*",
    "socket2",
    "polling",
    "futures-executor",
    "hyper",
    "hyper-*",
    "tonic",
    "tonic-*",
    "tower",
    "quinn",
    "quinn-*",
    "rustls",
    "mdns-sd",
    "rustix",
    "nix",
    "crossbeam-channel",
];

/// Words of the protocol that no adapter has a reason to say.
const PROTOCOL_WORDS: [&str; 16] = [
    "raft",
    "serf",
    "gossip",
    "lease",
    "epoch",
    "shard",
    "leader",
    "voter",
    "heartbeat",
    "election",
    "snapshot",
    "membership",
    "liveness",
    "quorum",
    "bootstrap",
    "incarnation",
];

/// Parts of package registries' host names. Split, so that this file passes its own check.
const REGISTRY_HOSTS: [&str; 5] = [
    concat!("crates", ".io"),
    concat!("npm", "js.org"),
    concat!("pypi", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("docker", ".io"),
];

/// Roots of directories that exist on one machine only.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/fa", "rm/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

#[test]
fn the_core_depends_on_no_runtime_and_no_socket_crate() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(workspace())
        .args(["tree", "-p", "funk-proto", "-e", "normal", "--prefix", "none", "--format", "{p}", "--locked"])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("raft"), "cargo tree shows what funk-proto depends on: {names:?}");
    let bad: Vec<_> = names.iter().filter(|name| RUNTIME_CRATES.iter().any(|rule| matches(rule, name))).collect();
    assert!(bad.is_empty(), "funk-proto must stay free of {bad:?}");
}

#[test]
fn adapters_are_short_and_speak_no_protocol() {
    for adapter in ["funk-tokio", "funk-smol", "funk-async-std"] {
        let files = rust_files(&workspace().join(adapter).join("src"));
        let sources: Vec<_> = files.iter().map(|file| (file, read(file))).collect();
        let lines: usize = sources.iter().map(|(_, source)| source.lines().count()).sum();
        assert!(lines < ADAPTER_LINES_MAX, "{adapter} has {lines} lines, {ADAPTER_LINES_MAX} is too many");
        for (file, source) in &sources {
            for (number, line) in source.lines().enumerate() {
                let low = line.to_lowercase();
                let said = PROTOCOL_WORDS.iter().find(|word| low.contains(**word));
                assert!(
                    said.is_none(),
                    "{}:{}: `{}` is not an adapter's business",
                    show(file),
                    number + 1,
                    said.unwrap_or(&"")
                );
            }
        }
    }
}

#[test]
fn files_hold_less_than_500_lines_of_code() {
    for file in our_sources() {
        let source = read(&file);
        let generated = source.contains("@generated");
        let lines = code_lines(&source);
        assert!(generated || lines < FILE_LINES_MAX, "{} has {lines} lines of code: cut it by its ideas", show(&file));
    }
}

#[test]
fn functions_are_shorter_than_70_lines() {
    for file in our_sources() {
        let source = read(&file);
        if source.contains("@generated") {
            continue;
        }
        let lines: Vec<_> = source.lines().collect();
        for (number, line) in lines.iter().enumerate().filter(|(_, line)| starts_function(line)) {
            let indent = line.len() - line.trim_start().len();
            // Formatted code closes a function with a brace as deep as its signature; one on a line ends there.
            let ends = |line: &str| line.len() == indent + 1 && line.ends_with('}');
            let one_line = line.ends_with('}') || line.ends_with(';');
            let length = if one_line { 1 } else { lines[number..].iter().position(|line| ends(line)).unwrap_or(0) + 1 };
            let name = line.trim();
            assert!(length < FUNCTION_LINES_MAX, "{}:{}: {length} lines: {name}", show(&file), number + 1);
        }
    }
}

#[test]
fn modules_stand_beside_their_directories() {
    let old: Vec<_> = our_sources().into_iter().filter(|file| file.ends_with("mod.rs")).collect();
    assert!(old.is_empty(), "call it after its directory instead: {old:?}");
}

#[test]
fn every_crate_inherits_the_lints_that_forbid_unsafe_code() {
    let root = read(&workspace().join("Cargo.toml"));
    assert!(root.contains("unsafe_code = \"forbid\""), "the workspace forbids unsafe code");
    for manifest in manifests() {
        let text = read(&manifest);
        assert!(text.contains("[lints]\nworkspace = true"), "{} must inherit the workspace's lints", show(&manifest));
    }
}

#[test]
fn no_test_is_ignored_without_a_reason() {
    for file in our_sources() {
        for (number, line) in read(&file).lines().enumerate() {
            let bare = line.trim() == concat!("#[ig", "nore]");
            assert!(!bare, "{}:{}: say why: #[ignore = \"…\"]", show(&file), number + 1);
        }
    }
}

#[test]
fn sources_and_docs_name_no_registry_and_no_machine() {
    let root = workspace();
    let mut files = our_sources();
    files.extend(manifests());
    files.extend(files_with(&root, &["md", "toml", "yml", "yaml", "sh", "proto", "py"]));
    for place in ["Makefile", ".ci/run", "tests/check"] {
        files.push(root.join(place));
    }
    for file in files {
        let text = read(&file);
        // A merge that nobody finished.
        let marker = text.lines().find(|line| line.starts_with(concat!("<<<<", "<<< ")));
        assert!(marker.is_none(), "{} holds `{}`", show(&file), marker.unwrap_or_default());
        for word in REGISTRY_HOSTS.iter().chain(&MACHINE_PATHS) {
            assert!(!text.contains(word), "{} names `{word}`", show(&file));
        }
    }
}

#[test]
fn every_allow_gives_its_reason() {
    for file in our_sources() {
        let source = read(&file);
        if source.contains("@generated") {
            continue;
        }
        for (place, _) in source.match_indices(concat!("[all", "ow(")) {
            let rest = &source[place..];
            let attribute = &rest[..rest.find(")]").map_or(rest.len(), |end| end)];
            assert!(attribute.contains("reason"), "{}: give the reason of {attribute})]", show(&file));
        }
    }
}

/// Whether a function's signature begins on this line.
fn starts_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let plain = |word: &str| ["pub", "const", "async", "pub(crate)", "pub(super)"].contains(&word);
    words.find(|word| !plain(word)) == Some("fn")
}

/// Lines before the unit tests, which stand last.
fn code_lines(source: &str) -> usize {
    let mut lines = source.lines().collect::<Vec<_>>();
    let tests = |pair: &[&str]| pair[0].trim() == "#[cfg(test)]" && pair[1].trim_start().starts_with("mod ");
    if let Some(place) = lines.windows(2).position(|pair| tests(pair) && pair[1].trim_end().ends_with('{')) {
        lines.truncate(place);
    }
    lines.len()
}

fn matches(rule: &str, name: &str) -> bool {
    rule.strip_suffix('*').map_or(rule == name, |start| name.starts_with(start))
}

fn our_sources() -> Vec<PathBuf> {
    rust_files(&workspace())
}

fn rust_files(root: &Path) -> Vec<PathBuf> {
    let files = files_with(root, &["rs"]);
    assert!(!files.is_empty(), "{} holds sources", root.display());
    files
}

fn manifests() -> Vec<PathBuf> {
    let root = workspace();
    let all = files_with(&root, &["toml"]).into_iter();
    all.filter(|file| file.ends_with("Cargo.toml") && file.parent() != Some(&root)).collect()
}

/// Files below `root` with one of these endings, outside build outputs and hidden directories.
fn files_with(root: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory of the workspace can be read") {
            let path = entry.expect("an entry can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                open.push(path);
            } else if path.is_file() && endings.iter().any(|ending| path.extension().is_some_and(|x| x == *ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn show(file: &Path) -> String {
    file.strip_prefix(workspace()).unwrap_or(file).display().to_string()
}
