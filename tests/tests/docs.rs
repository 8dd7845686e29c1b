//! The documents: what they point to is there, and what they tell people to type exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use funk_tests::blackbox::workspace;

/// Flags of other people's programs that the documents name.
const FOREIGN_FLAGS: [&str; 10] =
    ["--release", "--bin", "--example", "--test", "--workspace", "--locked", "--build", "--cfg", "--features", "--help"];

fn files(below: &Path, keep: &dyn Fn(&Path) -> bool, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(below).unwrap_or_else(|error| panic!("{}: {error}", below.display()));
    for entry in entries {
        let path = entry.expect("a readable directory").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files(&path, keep, found);
        } else if keep(&path) {
            found.push(path);
        }
    }
}

fn has_extension(path: &Path, wanted: &[&str]) -> bool {
    path.extension().is_some_and(|extension| wanted.iter().any(|wanted| extension == *wanted))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents() -> Vec<PathBuf> {
    let root = workspace();
    let mut found: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name)).into();
    files(&root.join("docs"), &|path| has_extension(path, &["md"]), &mut found);
    found
}

/// The text outside of fenced blocks.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let outside = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    outside.collect::<Vec<_>>().join("\n")
}

/// What `](..)` points to.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let ends = prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
    ends.filter(|link| !link.contains("://") && !link.starts_with("mailto:")).collect()
}

/// The anchors of a page's headings, as pages are shown on the web.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings = headings.lines().filter_map(|line| line.strip_prefix('#'));
    let anchor = |heading: &str| -> String {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_and_anchors_lead_somewhere() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for document in documents() {
        for link in links(&read(&document)) {
            seen += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target =
                if file.is_empty() { document.clone() } else { document.parent().expect("a file").join(file) };
            let there = target.exists() && (anchor.is_empty() || anchors(&read(&target)).contains(anchor));
            if !there {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(seen > 50, "the documents are full of links, only {seen} were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_page_is_in_the_index() {
    let docs = workspace().join("docs");
    let listed: BTreeSet<String> = links(&read(&docs.join("README.md"))).into_iter().collect();
    let mut pages = Vec::new();
    files(&docs, &|path| has_extension(path, &["md"]), &mut pages);
    for page in pages {
        let name = page.strip_prefix(&docs).expect("below it").to_string_lossy().into_owned();
        let in_folder = name.contains('/');
        assert!(in_folder || name == "README.md" || listed.contains(&name), "docs/README.md does not list {name}");
    }
}

/// Words of `text` that begin with this, with what may not be in them cut off.
fn words<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    let ends = |letter: char| !(letter.is_ascii_alphanumeric() || letter == '-');
    let places = text.match_indices(start).filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|letter| letter.is_whitespace() || "`(\"'[".contains(letter))
    });
    places.map(|(at, _)| &text[at..]).map(|rest| rest.split(ends).next().unwrap_or(rest)).collect()
}

/// Names of the fields of flag structures, as clap makes flags of them.
fn known_flags() -> BTreeSet<String> {
    let root = workspace();
    let mut sources = Vec::new();
    for folder in ["demo/src", "ctrlc/src", "cli/src", "tests/src", "funk-sim", "benches/src", "examples"] {
        files(&root.join(folder), &|path| has_extension(path, &["rs"]), &mut sources);
    }
    let mut flags: BTreeSet<String> = FOREIGN_FLAGS.map(Into::into).into();
    for source in sources {
        let text = read(&source);
        for line in text.lines().map(str::trim_start) {
            let field = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).unwrap_or(line);
            if let Some((name, _)) = field.split_once(": ")
                && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
            {
                flags.insert(format!("--{}", name.replace('_', "-")));
            }
            if let Some((_, rest)) = line.split_once("long = \"") {
                flags.insert(format!("--{}", rest.split('"').next().unwrap_or(rest)));
            }
        }
    }
    flags
}

#[test]
fn flags_that_documents_and_deployments_name_exist() {
    let known = known_flags();
    let root = workspace();
    let mut places = documents();
    places.retain(|path| !path.ends_with("CHANGELOG.md"));
    files(&root.join("deploy"), &|path| has_extension(path, &["yaml"]), &mut places);
    let mut unknown = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for place in places {
        let text = read(&place);
        for flag in words(&text, "--").into_iter().filter(|word| word.len() > 4 && !word.ends_with('-')) {
            seen.insert(flag.to_owned());
            if !known.contains(flag) {
                unknown.insert(format!("{}: {flag}", place.display()));
            }
        }
    }
    assert!(seen.len() > 30, "{seen:?}");
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn make_targets_that_documents_name_exist() {
    let makefile = read(&workspace().join("Makefile"));
    let targets: BTreeSet<&str> =
        makefile.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    let mut seen = 0;
    for document in documents() {
        for line in read(&document).lines() {
            for command in line.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("make ")) {
                let target = command.split_whitespace().next().unwrap_or_default();
                seen += 1;
                assert!(targets.contains(target), "{}: make {target}", document.display());
            }
        }
    }
    assert!(seen > 10, "only {seen} were found");
}
