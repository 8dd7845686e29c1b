//! The core: machines that do not know each other, and a node that only joins them.

use std::collections::BTreeSet;

use funk_tests::blackbox::workspace;
use funk_tests::pages::{files, has_extension, read};

use crate::imports::{Module, of_crate, shown};

/// The machines, each a file and a folder of its name.
const MACHINES: [&str; 7] = ["gossip", "consensus", "liveness", "shards", "peers", "leader", "joining"];

/// Joins the machines; none of them imports it.
const NODE: &str = "node";

/// Files of a machine that may look at others. The leader's facts only read them, and its planning of moves is a pure
/// function of the shards' folder; its tests set facts by hand.
const READERS: [(&str, &[&str]); 3] = [
    ("leader/facts", &["consensus", "gossip", "liveness", "peers"]),
    ("leader/map", &["shards"]),
    ("leader", &["shards"]),
];

/// Fields of a node: its machines, and what is nobody else's.
const NODE_FIELDS_MAX: usize = 16;

/// Modules that a reader of the core's documentation sees.
const PUBLIC_MODULES_MAX: usize = 6;

#[test]
fn machines_are_imported_by_the_node_alone() {
    let imports = of_crate(&workspace().join("funk-proto/src"));
    let is_machine = |name: &String| MACHINES.contains(&name.as_str());
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
    for (from, to) in &imports {
        // The root only says which modules there are.
        let Some(room) = from.first().filter(|room| *room != NODE) else { continue };
        seen.extend(Some(room).filter(|room| is_machine(room)));
        let reader = READERS.iter().find(|(file, _)| *file == shown(from));
        for (to, path) in to {
            let Some(other) = to.first().filter(|other| *other != room) else { continue };
            let may = reader.is_some_and(|(_, may)| may.contains(&other.as_str()));
            if !may && (is_machine(other) || other == NODE) {
                wrong.push(format!("{} imports {} by {path}", shown(from), shown(to)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen.len() == MACHINES.len(), "only {seen:?} were found");
}

/// The lines between the braces of a structure.
fn fields(source: &str, structure: &str) -> Vec<String> {
    let begins = format!("pub struct {structure} {{");
    let lines = source.lines().skip_while(|line| *line != begins).skip(1).take_while(|line| *line != "}");
    let code = lines.map(str::trim).filter(|line| !line.starts_with("//") && !line.starts_with('#'));
    code.filter_map(|line| Some(line.split_once(": ")?.0.rsplit(' ').next()?.to_owned())).collect()
}

#[test]
fn a_node_has_few_fields() {
    let fields = fields(&read(&workspace().join("funk-proto/src/node.rs")), "Node");
    assert!(fields.iter().any(|field| field == "consensus"), "a node's fields are read: {fields:?}");
    assert!(fields.len() <= NODE_FIELDS_MAX, "{} fields: {fields:?}", fields.len());
}

#[test]
fn the_core_shows_few_modules() {
    let source = read(&workspace().join("funk-proto/src/lib.rs"));
    let lines: Vec<_> = source.lines().collect();
    let hidden = |at: usize| {
        lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).any(|line| line.contains("doc(hidden)"))
    };
    let module = |line: &str| Some(line.strip_prefix("pub mod ")?.trim_end_matches([';', ' ', '{']).to_owned());
    let shown: Vec<_> =
        lines.iter().enumerate().filter_map(|(at, line)| module(line).filter(|_| !hidden(at))).collect();
    assert!(!shown.is_empty(), "modules are read");
    assert!(shown.len() <= PUBLIC_MODULES_MAX, "{} modules: {shown:?}", shown.len());
}

#[test]
fn every_file_of_the_core_is_read() {
    let source = workspace().join("funk-proto/src");
    let mut found = Vec::new();
    files(&source, &|path| has_extension(path, &["rs"]), &mut found);
    let read = of_crate(&source);
    let tests = |module: &Module| module.iter().any(|part| part.contains("test"));
    // All but those that exist for tests only.
    let left: Vec<_> = found
        .iter()
        .map(|path| {
            let relative = path.strip_prefix(&source).expect("it is below").with_extension("");
            relative.iter().map(|part| part.to_string_lossy().into_owned()).collect::<Module>()
        })
        .filter(|module| *module != ["lib"] && !tests(module) && !read.contains_key(module))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
