//! Writes the Rust code of `proto/*.proto` to where it is committed. With
//! `--check` it only compares, and fails when committed code is stale.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

/// Each package, its schema, and the directory of its code.
const PACKAGES: [(&str, &str, &str); 5] = [
    ("demo", "proto/demo.proto", "demo/src/pb"),
    ("greet", "proto/greet.proto", "examples/greeter/src/pb"),
    ("tally", "proto/tally.proto", "examples/tally/src/pb"),
    ("managepb", "proto/managepb.proto", "funk-rpc/src/pb"),
    ("funk.cluster.v1", "proto/cluster.proto", "funk-rpc/src/pb"),
];

fn generate(root: &Path, proto: &str, out: &Path) -> Result<(), Box<dyn Error>> {
    let files = protox::compile([root.join(proto)], [root.join("proto")])?;
    std::fs::create_dir_all(out)?;
    tonic_prost_build::configure().build_transport(false).out_dir(out).compile_fds(files)?;
    Ok(())
}

/// Writes the code of a package, or with `check` says whether it is as committed.
fn run(check: bool, package: &str, proto: &str, out: &str) -> Result<bool, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let committed = root.join(out);
    if !check {
        generate(&root, proto, &committed)?;
        return Ok(true);
    }
    let fresh = std::env::temp_dir().join(format!("funk-gen-{}-{package}", std::process::id()));
    let result = generate(&root, proto, &fresh);
    let file = format!("{package}.rs");
    let new = std::fs::read_to_string(fresh.join(&file));
    std::fs::remove_dir_all(&fresh)?;
    result?;
    Ok(new? == std::fs::read_to_string(committed.join(&file))?)
}

fn main() -> ExitCode {
    let check = std::env::args().any(|argument| argument == "--check");
    let mut code = ExitCode::SUCCESS;
    for (package, proto, out) in PACKAGES {
        match run(check, package, proto, out) {
            Ok(true) => {}
            Ok(false) => {
                eprintln!("{out}/{package}.rs is not what {proto} gives: run cargo run -p funk-gen");
                code = ExitCode::FAILURE;
            }
            Err(error) => {
                eprintln!("{proto}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
