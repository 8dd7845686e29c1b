//! The documents: what they point to is there, and what they tell people to type exists and is run by a test.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use funk_tests::blackbox::workspace;
use funk_tests::pages::{
    Block, PROVIDERS, anchors, blocks, documents, files, from_root, has_extension, inline_code, links, read,
};

/// Flags of other people's programs that the documents name.
const FOREIGN_FLAGS: [&str; 10] = [
    "--release",
    "--bin",
    "--example",
    "--test",
    "--workspace",
    "--locked",
    "--build",
    "--cfg",
    "--features",
    "--help",
];

#[test]
fn links_and_anchors_lead_somewhere() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for document in documents() {
        let path = workspace().join(&document);
        for link in links(&read(&path)) {
            seen += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().expect("a file").join(file) };
            let there = target.exists() && (anchor.is_empty() || anchors(&read(&target)).contains(anchor));
            if !there {
                broken.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(seen > 40, "the documents are full of links, only {seen} were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Words that pages once had, and the ones that readers know.
const PLAIN: [(&str, &str); 9] = [
    ("held for dead", "considered dead"),
    ("holds for dead", "considers dead"),
    ("look round", "check for"),
    ("looks round", "checks for"),
    ("at one moment", "simultaneously"),
    ("99 of 100", "p99"),
    ("former owner", "previous owner"),
    ("fail-over", "failover"),
    ("let in by hand", "admitted manually"),
];

#[test]
fn pages_use_the_words_that_readers_know() {
    let mut found = Vec::new();
    for document in documents().into_iter().filter(|document| document != "CHANGELOG.md") {
        let text = read(&workspace().join(&document)).split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        let said = PLAIN.iter().filter(|(word, _)| text.contains(word));
        found.extend(said.map(|(word, better)| format!("{document} says `{word}`: say `{better}`")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_page_is_in_the_index() {
    let listed: BTreeSet<String> = links(&read(&workspace().join("docs/README.md"))).into_iter().collect();
    for page in documents() {
        let Some(name) = page.strip_prefix("docs/") else { continue };
        let own = name.contains('/') || name == "README.md";
        assert!(own || listed.contains(name), "docs/README.md does not list {name}");
    }
}

#[test]
fn every_block_of_commands_says_who_runs_it_and_is_run() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for document in documents() {
        for block in blocks(&document).iter().filter(|block| block.is_shell()) {
            seen += 1;
            if let Err(why) = runs(block) {
                wrong.push(format!("{}: {why}", block.place()));
            }
        }
    }
    assert!(seen > 10, "only {seen} blocks were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether the mark of a block is true.
fn runs(block: &Block) -> Result<(), String> {
    let mark = block.mark.as_deref().ok_or("no mark above it says which test runs it: see tests/src/pages.rs")?;
    let steps = block.steps();
    if mark == "provider" {
        let own = steps.iter().find(|step| !PROVIDERS.iter().any(|name| step.command.split(' ').next() == Some(name)));
        return own.map_or(Ok(()), |step| Err(format!("`{}` is no provider's command", step.command)));
    }
    let runner = mark.strip_prefix("run: ").ok_or_else(|| format!("what is `{mark}`?"))?;
    let (file, test) = match runner.rsplit_once("::") {
        Some((module, test)) => (format!("tests/tests/{}.rs", module.replace("::", "/")), Some(test)),
        None => (runner.to_owned(), None),
    };
    let path = workspace().join(&file);
    let source = std::fs::read_to_string(&path).map_err(|error| format!("{file}: {error}"))?;
    match test {
        Some(test) => {
            let there = source.split("#[test]\n").skip(1).any(|rest| rest.starts_with(&format!("fn {test}(")));
            if !there {
                return Err(format!("{file} has no test `{test}`"));
            }
        }
        None => {
            let mode = std::fs::metadata(&path).map_err(|error| error.to_string())?.permissions().mode();
            if mode & 0o111 == 0 {
                return Err(format!("{file} is no program"));
            }
        }
    }
    // It takes the commands from the page, or has each as it stands there.
    let reads = source.contains(&block.page) && (test.is_none() || source.contains(&format!("{runner:?}")));
    let missing = steps.iter().find(|step| !source.lines().any(|line| line.trim() == step.command));
    match missing {
        Some(step) if !reads => Err(format!("{file} neither reads the block nor has `{}`", step.command)),
        _ => Ok(()),
    }
}

#[test]
fn a_mark_that_is_not_true_is_found() {
    let block = |mark: Option<&str>, text: &str| Block {
        page: "docs/no-page.md".into(),
        line: 1,
        language: "sh".into(),
        mark: mark.map(str::to_owned),
        text: text.into(),
    };
    let refused = |mark, text, why: &str| {
        let said = runs(&block(mark, text)).expect_err("it is not true");
        assert!(said.contains(why), "{said}");
    };
    refused(None, "make", "no mark");
    refused(Some("provider"), "docker ps\nbin/demo", "no provider's command");
    refused(Some("tests"), "make", "what is");
    refused(Some("run: tests/no-script"), "make", "tests/no-script");
    refused(Some("run: README.md"), "make", "is no program");
    refused(Some("run: docs::pages::a_test_that_is_not_there"), "make", "has no test");
    refused(Some("run: docs::pages::every_page_is_in_the_index"), "bin/demo --no-such", "neither reads");
    refused(Some("run: tests/check"), "bin/demo --no-such", "neither reads");
    assert_eq!(runs(&block(Some("provider"), "docker ps")), Ok(()));
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

/// The text of a file without its blocks of commands: those are run, or are others' own.
fn own(place: &Path) -> String {
    let mut text = read(place);
    if has_extension(place, &["md"]) {
        for block in blocks(&from_root(place)).iter().filter(|block| block.mark.is_some()) {
            text = text.replace(&block.text, "");
        }
    }
    text
}

#[test]
fn flags_that_documents_and_deployments_name_exist() {
    let known = known_flags();
    let root = workspace();
    let mut places: Vec<PathBuf> = documents().iter().map(|page| root.join(page)).collect();
    places.retain(|path| !path.ends_with("CHANGELOG.md"));
    files(&root.join("deploy"), &|path| has_extension(path, &["yaml"]), &mut places);
    let mut unknown = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for place in places {
        let text = own(&place);
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
        for code in inline_code(&read(&workspace().join(&document))) {
            let Some(command) = code.strip_prefix("make ") else { continue };
            let target = command.split_whitespace().next().unwrap_or_default();
            seen += 1;
            assert!(targets.contains(target), "{document}: make {target}");
        }
    }
    assert!(seen > 10, "only {seen} were found");
}

#[test]
fn make_targets_that_documents_name_are_run_by_a_script() {
    let scripts = ["tests/tools", "tests/check"].map(|script| read(&workspace().join(script))).concat();
    let runs: BTreeSet<&str> = scripts
        .match_indices("make ")
        .filter_map(|(at, start)| scripts[at + start.len()..].split_whitespace().next())
        .map(|word| word.trim_end_matches([',', '.', '`', ':']))
        .collect();
    // `test` and `check` are the script itself; a black-box test runs `demo`.
    let own = ["test", "check", "demo"];
    for document in documents() {
        for code in inline_code(&read(&workspace().join(&document))) {
            let Some(target) = code.strip_prefix("make ").and_then(|rest| rest.split_whitespace().next()) else {
                continue;
            };
            assert!(runs.contains(target) || own.contains(&target), "{document}: no script runs make {target}");
        }
    }
}

#[test]
fn contributing_lists_every_make_target() {
    let root = workspace();
    let makefile = read(&root.join("Makefile"));
    let phony = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).expect("targets that are no files");
    let page = read(&root.join("CONTRIBUTING.md"));
    for target in phony.split_whitespace().filter(|target| !["all", "build", "clean"].contains(target)) {
        assert!(page.contains(&format!("`make {target}")), "CONTRIBUTING.md does not list make {target}");
    }
}

/// The texts of all WARN and ERROR lines in sources below a folder, up to the first value in them.
fn alarming_lines(folder: &Path) -> Vec<String> {
    let mut sources = Vec::new();
    files(folder, &|path| has_extension(path, &["rs"]), &mut sources);
    let mut found = Vec::new();
    for source in sources {
        let text = read(&source);
        for start in ["tracing::warn!(", "tracing::error!("] {
            let calls = text.split(start).skip(1).filter_map(|rest| rest.split(");").next());
            let texts =
                calls.filter_map(|call| call.trim_end().strip_suffix('"')?.rsplit_once('"')).map(|(_, text)| text);
            found.extend(texts.filter_map(|text| text.split('{').next()).map(|text| text.trim_end().to_owned()));
        }
    }
    found.retain(|text| !text.is_empty());
    found
}

#[test]
fn troubleshooting_has_a_heading_for_every_warning_and_error() {
    let root = workspace();
    let page = read(&root.join("docs/troubleshooting.md"));
    let headings: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let folders = ["funk-proto/src", "funk-io/src", "funk-rpc/src", "demo/src", "ctrlc/src", "cli/src"];
    let lines: BTreeSet<String> = folders.iter().flat_map(|folder| alarming_lines(&root.join(folder))).collect();
    assert!(lines.len() > 20, "{lines:?}");
    let missing: Vec<_> = lines.iter().filter(|line| !headings.contains(line.as_str())).collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md has no heading for {missing:#?}");
}

/// Each package of the workspace by its name, with its directory.
fn packages() -> BTreeMap<String, PathBuf> {
    let mut manifests = Vec::new();
    files(&workspace(), &|path| path.ends_with("Cargo.toml"), &mut manifests);
    let named = manifests.into_iter().filter_map(|manifest| {
        let text = read(&manifest);
        let name = text.lines().find_map(|line| line.strip_prefix("name = \""))?.trim_end_matches('"');
        Some((name.to_owned(), manifest.parent()?.to_owned()))
    });
    named.collect()
}

#[test]
fn programs_and_tests_that_cargo_is_told_to_run_exist() {
    let packages = packages();
    let mut seen = 0;
    for document in documents() {
        let mut commands = inline_code(&read(&workspace().join(&document)));
        commands.extend(blocks(&document).iter().flat_map(Block::steps).map(|step| step.command));
        for command in commands.iter().filter(|command| command.starts_with("cargo ")) {
            let words: Vec<_> = command.split_whitespace().take_while(|word| *word != "--").collect();
            let value = |flag: &str| words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1));
            let Some(package) = value("-p") else { continue };
            seen += 1;
            let directory = packages.get(*package).unwrap_or_else(|| panic!("{document}: no package {package}"));
            let manifest = read(&directory.join("Cargo.toml"));
            for (flag, folder) in [("--bin", "src/bin"), ("--example", "examples"), ("--test", "tests")] {
                let Some(name) = value(flag) else { continue };
                let at = directory.join(folder);
                let there = at.join(format!("{name}.rs")).is_file() || at.join(name).join("main.rs").is_file();
                let declared = manifest.contains(&format!("name = \"{name}\""));
                assert!(there || declared, "{document}: `{command}`: {package} has no {name}");
            }
        }
    }
    assert!(seen > 8, "only {seen} were found");
}
