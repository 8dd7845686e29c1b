//! Files of a crate import each other in one direction only.

use std::collections::BTreeSet;

use funk_tests::blackbox::workspace;

use crate::imports::{Imports, Module, circles, of_crate, of_texts, shown};

/// Every crate of the workspace that has more than a file.
const CRATES: [&str; 17] = [
    "funk",
    "funk-proto",
    "funk-tls",
    "funk-io",
    "funk-rpc",
    "funk-tokio",
    "funk-smol",
    "funk-async-std",
    "funk-sim",
    "cli",
    "ctrlc",
    "demo",
    "tests",
    "benches",
    "examples/counter",
    "examples/greeter",
    "examples/tally",
];

fn names(circle: &BTreeSet<Module>) -> Vec<String> {
    circle.iter().map(shown).collect()
}

/// The imports that close a circle, in words.
fn links(imports: &Imports, circle: &BTreeSet<Module>) -> String {
    let inside = |from: &Module| {
        let to: Vec<_> = imports[from].iter().filter(|(to, _)| circle.contains(*to)).collect();
        to.into_iter().map(|(to, path)| format!("{} imports {} by {path}", shown(from), shown(to))).collect::<Vec<_>>()
    };
    circle.iter().flat_map(inside).collect::<Vec<_>>().join("\n  ")
}

#[test]
fn files_of_a_crate_import_each_other_one_way_only() {
    for package in CRATES {
        let imports = of_crate(&workspace().join(package).join("src"));
        assert!(!imports.is_empty(), "{package} has no files");
        let told = |circle: &BTreeSet<Module>| format!("{}:\n  {}", names(circle).join(", "), links(&imports, circle));
        let found: Vec<String> = circles(&imports).iter().map(told).collect();
        assert!(found.is_empty(), "files of {package} import each other: {}", found.join("\n"));
    }
}

#[test]
fn every_crate_with_files_is_looked_at() {
    let manifest = funk_tests::pages::read(&workspace().join("Cargo.toml"));
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = ")).expect("a list in one line");
    let members: BTreeSet<_> = members.split('"').skip(1).step_by(2).filter(|name| *name != "proto/gen").collect();
    assert_eq!(members, CRATES.into());
}

fn texts(files: &[(&str, &str)]) -> Vec<(Module, String)> {
    let module = |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    files.iter().map(|(path, text)| (module(path), (*text).to_owned())).collect()
}

fn found(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    circles(&of_texts(&texts(files))).iter().map(names).collect()
}

#[test]
fn circles_are_seen_however_a_path_is_written() {
    let one_way = [("", "mod a; mod b;"), ("a", "pub struct A;"), ("b", "use crate::a::A;")];
    assert!(found(&one_way).is_empty());
    for back in [
        "use crate::b::B;",
        "use super::b::{B, C};",
        "use super::{b::B as Other};",
        "fn f() -> crate::b::B { todo!() }",
        "use super::b; fn f() { b::b() }",
        "mod inner { use super::super::b::B; }",
        "const QUOTE: char = '\"'; use crate::b::B; const OTHER: char = '\"';",
        "use crate::B;",
    ] {
        let files = [("", "mod a; mod b; pub use b::B;"), ("a", back), ("b", "use crate::a::A; pub struct B;")];
        assert_eq!(found(&files), [["a", "b"]], "{back}");
    }
    for other in [
        "// use crate::b::B;",
        "/* crate::b::B */ const C: &str = \"crate::b::B\"; const D: &str = r#\"crate::b::B\"#;",
        "#[cfg(test)] mod tests { use crate::b::B; }",
        "use other::b::B;",
    ] {
        let files = [("", "mod a; mod b;"), ("a", other), ("b", "use crate::a::A; pub struct B;")];
        assert!(found(&files).is_empty(), "{other}");
    }
}

#[test]
fn a_file_and_its_folder_are_one_room_and_what_it_passes_on_counts() {
    let room =
        [("", "mod a;"), ("a", "mod part; use part::P; pub struct A;"), ("a/part", "use super::A; pub struct P;")];
    assert!(found(&room).is_empty());
    // What a file passes on from its folder is imported from there.
    let passed = [
        ("", "mod a; mod c;"),
        ("a", "mod part; pub use part::P;"),
        ("a/part", "use crate::c::C; pub struct P;"),
        ("c", "use crate::a::P; pub struct C;"),
    ];
    assert_eq!(found(&passed), [["a/part", "c"]]);
}
