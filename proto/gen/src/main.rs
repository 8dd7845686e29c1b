//! Writes the Rust code of `proto/demo.proto` to `demo/src/pb/demo.rs`. With
//! `--check` it only compares, and fails when the committed code is stale.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

fn generate(root: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let files = protox::compile([root.join("proto/demo.proto")], [root.join("proto")])?;
    tonic_prost_build::configure().build_transport(false).out_dir(out).compile_fds(files)?;
    Ok(())
}

fn run(check: bool) -> Result<bool, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let committed = root.join("demo/src/pb");
    if !check {
        std::fs::create_dir_all(&committed)?;
        generate(&root, &committed)?;
        return Ok(true);
    }
    let fresh = std::env::temp_dir().join(format!("funk-gen-{}", std::process::id()));
    std::fs::create_dir_all(&fresh)?;
    let result = generate(&root, &fresh);
    let new = std::fs::read_to_string(fresh.join("demo.rs"));
    std::fs::remove_dir_all(&fresh)?;
    result?;
    Ok(new? == std::fs::read_to_string(committed.join("demo.rs"))?)
}

fn main() -> ExitCode {
    match run(std::env::args().any(|argument| argument == "--check")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("demo/src/pb/demo.rs is not what proto/demo.proto gives: run cargo run -p funk-gen");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("proto/demo.proto: {error}");
            ExitCode::FAILURE
        }
    }
}
