//! Many seeds on all cores.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use funk_sim::plan::seed_of;
use funk_sim::{Outcome, Tally, run};

use super::out::Out;
use super::report::report;
use super::{Flags, drawn, html};

#[derive(Default)]
struct Sum {
    tally: Tally,
    seeds: u64,
    simulated: Duration,
    slowest: (Duration, u64),
    failed: Vec<(u64, String)>,
}

pub(crate) fn run_seeds(flags: &Flags, out: &mut Out<impl std::io::Write>) -> ExitCode {
    let started = Instant::now();
    let threads = flags.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let first = seed_of(&flags.first);
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Sum::default()));
    let more = |n: u64, failed: usize| {
        let in_time = flags.minutes.is_none_or(|minutes| started.elapsed().as_secs_f64() < minutes * 60.0);
        failed < flags.failures && flags.seeds.is_none_or(|seeds| n < seeds) && in_time
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if !more(n, sum.lock().unwrap_or_else(PoisonError::into_inner).failed.len()) {
                        return;
                    }
                    let seed = first.wrapping_add(n);
                    let outcome = std::panic::catch_unwind(|| run(&drawn(flags, seed), false));
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    take(&mut sum, seed, outcome.ok());
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(out, &sum.tally, sum.seeds, sum.simulated, started.elapsed(), threads);
    out.line(format_args!("slowest core: {:?} in seed {}", sum.slowest.0, sum.slowest.1));
    let lost = sum.tally.unrecoverable;
    out.line(format_args!("{lost} clusters beyond recovery (too many voters gone in a change of voters)"));
    for (seed, what) in &sum.failed {
        out.line(format_args!("FAILED: make sim SEED={seed}\n    {what}"));
    }
    if let Some(directory) = &flags.html_on_failure {
        for (seed, _) in &sum.failed {
            match html::of_failure(directory, &drawn(flags, *seed)) {
                Ok(path) => out.line(format_args!("{} shows seed {seed}", path.display())),
                Err(why) => eprintln!("sim: seed {seed} cannot be shown: {why}"),
            }
        }
    }
    out.flush();
    if sum.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn take(sum: &mut Sum, seed: u64, outcome: Option<Outcome>) {
    sum.seeds += 1;
    let Some(outcome) = outcome else {
        eprintln!("FAILED: make sim SEED={seed} (panic)");
        sum.failed.push((seed, "a panic".into()));
        return;
    };
    sum.tally.add(&outcome.tally);
    sum.simulated += outcome.simulated;
    sum.slowest = sum.slowest.max((outcome.healed_after.unwrap_or_default(), seed));
    if let Some(violation) = outcome.violation {
        eprintln!("FAILED: make sim SEED={seed}  {violation}");
        sum.failed.push((seed, violation.to_string()));
    }
}
