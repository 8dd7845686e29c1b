//! Writes the first inputs of every fuzz target's corpus: `fuzz-seeds DIRECTORY`.

fn main() -> std::io::Result<()> {
    let corpus = std::env::args_os().nth(1).unwrap_or_else(|| "fuzz/corpus".into());
    funk_tests::fuzz::write_seeds(corpus.as_ref())
}
