//! The mutation gate: every planted bug must be found. `make mutants`.

#[cfg(not(funk_mutate))]
fn main() -> std::process::ExitCode {
    eprintln!("no bug can be planted in this build: run `make mutants`, or build with RUSTFLAGS=\"--cfg funk_mutate\"");
    std::process::ExitCode::from(2)
}

#[cfg(funk_mutate)]
fn main() -> std::process::ExitCode {
    gate::main()
}

#[cfg(funk_mutate)]
mod gate {
    use std::collections::BTreeSet;
    use std::process::ExitCode;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use clap::Parser;
    use funk_proto::mutate::Mutant;
    use funk_tests::mutants::{Found, broken_anyway, by_scenarios, by_seeds};

    /// Plants one bug after the other and asks how soon it is found.
    #[derive(Debug, Parser)]
    struct Flags {
        /// Seeds to try for each bug at most.
        #[arg(long, default_value_t = 2_000)]
        seeds: u64,
        /// How many of them to try before the scenarios.
        #[arg(long, default_value_t = 100)]
        first: u64,
        /// Only these bugs, separated by commas.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// Threads; all cores by default.
        #[arg(long)]
        threads: Option<usize>,
        /// Seeds that are run without any bug, to learn which properties prove nothing.
        #[arg(long, default_value_t = 100)]
        baseline: u64,
    }

    /// Some seeds, then the scenarios, then the rest of the seeds.
    fn find(mutant: Mutant, flags: &Flags, anyway: &BTreeSet<String>) -> Option<Found> {
        let some = flags.first.min(flags.seeds);
        by_seeds(mutant, 0..some, anyway)
            .or_else(|| by_scenarios(mutant))
            .or_else(|| by_seeds(mutant, some..flags.seeds, anyway))
    }

    fn row(mutant: Mutant, found: Option<&Found>) -> String {
        let name = format!("{mutant:?}");
        let rule = mutant.rule().trim();
        match found {
            Some(Found { runs, what, by, took }) => {
                format!("| {name} | {rule} | {runs} | {by} | {what} | {:.1} s |", took.as_secs_f64())
            }
            None => format!("| {name} | {rule} | - | NOT FOUND | - | - |"),
        }
    }

    pub(super) fn main() -> ExitCode {
        let flags = Flags::parse();
        // What a planted bug makes panic is a finding, not news.
        std::panic::set_hook(Box::new(|_| {}));
        let wanted = |mutant: &&Mutant| flags.only.is_empty() || flags.only.contains(&format!("{mutant:?}"));
        let mutants: Vec<Mutant> = Mutant::ALL.iter().filter(wanted).copied().collect();
        let threads = flags.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
        let anyway = broken_anyway(flags.baseline);
        for property in &anyway {
            eprintln!("`{property}` is broken without any bug planted: it proves nothing");
        }
        let (next, rows) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(&mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let found = find(mutant, &flags, &anyway);
                        let row = row(mutant, found.as_ref());
                        eprintln!("{row}");
                        rows.lock().expect("no thread panics with it").push((mutant, row, found.is_some()));
                    }
                });
            }
        });
        let mut rows = rows.into_inner().expect("no thread panics with it");
        rows.sort_by_key(|&(mutant, ..)| mutant);
        println!("| bug | what it does | runs | found by | what broke | took |\n|---|---|--:|---|---|--:|");
        for (_, row, _) in &rows {
            println!("{row}");
        }
        let missed = rows.iter().filter(|(_, _, found)| !found).count();
        println!("\n{} bugs, {missed} not found", rows.len());
        if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
