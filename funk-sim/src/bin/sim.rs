//! Runs seeds: one with its story, or many.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use funk_sim::plan::seed_of;
use funk_sim::shrink::shrink;
use funk_sim::{Outcome, Plan, Tally, Topic, run};

/// Simulates whole clusters, each from one seed.
#[derive(Debug, Parser)]
struct Flags {
    /// One seed, with its story. Any text is a seed: a number, or a commit's hash.
    #[arg(long)]
    seed: Option<String>,
    /// A plan that was kept, instead of a seed.
    #[arg(long)]
    plan: Option<std::path::PathBuf>,
    /// Only lines about these nodes, separated by commas.
    #[arg(long, value_delimiter = ',')]
    node: Vec<String>,
    /// Only lines about these topics: fault, process, event, state, datagram, stream, disk, client, check.
    #[arg(long, value_delimiter = ',')]
    kind: Vec<String>,
    /// Make a failing plan smaller and print it.
    #[arg(long)]
    shrink: bool,
    /// Print the plan of the seed and run nothing.
    #[arg(long)]
    show_plan: bool,
    /// Streams show certificates.
    #[arg(long)]
    certified: bool,
    /// Run this many seeds.
    #[arg(long)]
    seeds: Option<u64>,
    /// Run seeds for this many minutes.
    #[arg(long)]
    minutes: Option<f64>,
    /// The first of many seeds.
    #[arg(long, default_value = "0")]
    first: String,
    /// Threads; all cores by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Stop after this many failures.
    #[arg(long, default_value_t = 5)]
    failures: usize,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    if flags.seeds.is_some() || flags.minutes.is_some() {
        return many(&flags);
    }
    match plan_of(&flags) {
        Ok(plan) if flags.show_plan => {
            print!("{plan}");
            ExitCode::SUCCESS
        }
        Ok(plan) => one(&flags, &plan),
        Err(error) => {
            eprintln!("sim: {error}");
            ExitCode::from(2)
        }
    }
}

fn plan_of(flags: &Flags) -> Result<Plan, String> {
    if let Some(path) = &flags.plan {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        return text.parse();
    }
    let seed = flags.seed.as_deref().ok_or("give a seed, a plan, a number of seeds or of minutes; --help says more")?;
    Ok(Plan { certified: flags.certified, ..Plan::draw(seed_of(seed)) })
}

fn one(flags: &Flags, plan: &Plan) -> ExitCode {
    let started = Instant::now();
    let topics: Vec<Topic> = Topic::ALL
        .iter()
        .filter(|(_, word)| flags.kind.iter().any(|kind| kind == word))
        .map(|(topic, _)| *topic)
        .collect();
    let outcome = run(plan, true);
    if let Some(story) = &outcome.story {
        for line in story.filtered(&flags.node, &topics) {
            println!("{line}");
        }
    }
    report(&outcome.tally, 1, outcome.simulated, started.elapsed(), 1);
    println!("trace hash {:016x}", outcome.hash);
    let Some(violation) = outcome.violation else {
        println!("seed {}: all properties hold, the core agreed after {:?}", plan.seed, outcome.healed_after);
        return ExitCode::SUCCESS;
    };
    println!("seed {}: {violation}", plan.seed);
    if flags.shrink {
        let (small, runs) = shrink(plan, violation.property);
        println!("the smallest plan of {runs} that breaks it:\n{small}");
    }
    ExitCode::FAILURE
}

#[derive(Default)]
struct Sum {
    tally: Tally,
    seeds: u64,
    simulated: Duration,
    slowest: (Duration, u64),
    failed: Vec<(u64, String)>,
}

fn many(flags: &Flags) -> ExitCode {
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
                    let outcome = std::panic::catch_unwind(|| {
                        run(&Plan { certified: flags.certified, ..Plan::draw(seed) }, false)
                    });
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    take(&mut sum, seed, outcome.ok());
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(&sum.tally, sum.seeds, sum.simulated, started.elapsed(), threads);
    println!("slowest core: {:?} in seed {}", sum.slowest.0, sum.slowest.1);
    println!("{} clusters beyond recovery (too many voters gone in a change of voters)", sum.tally.unrecoverable);
    for (seed, what) in &sum.failed {
        println!("FAILED: make sim SEED={seed}\n    {what}");
    }
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

fn report(tally: &Tally, seeds: u64, simulated: Duration, took: Duration, threads: usize) {
    let speed = simulated.as_secs_f64() / took.as_secs_f64();
    println!(
        "{seeds} seeds, {:.1} h simulated in {:.1} s: {speed:.0} times real time, {:.0} a core",
        simulated.as_secs_f64() / 3600.0,
        took.as_secs_f64(),
        speed / threads as f64,
    );
    println!(
        "{} steps, {} process starts, {} datagrams ({} lost, {} corrupted, {} replayed, {} of strangers), {} stream messages, {} writes",
        tally.steps,
        tally.starts,
        tally.datagrams,
        tally.datagrams_lost,
        tally.datagrams_corrupted,
        tally.datagrams_replayed,
        tally.injected,
        tally.stream_messages,
        tally.writes,
    );
    println!(
        "{} leader changes, {} shards began to move, {} states given, {} received, {} requests served, {} refused, {} proposals",
        tally.leader_changes,
        tally.moves,
        tally.states_given,
        tally.states_received,
        tally.requests_served,
        tally.requests_refused,
        tally.proposals
    );
    println!("faults: {:?}", tally.faults);
    println!("states: {:?}", tally.states);
    println!("roles: {:?}", tally.roles);
    println!("messages: {:?}", tally.messages);
}
