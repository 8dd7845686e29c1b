//! Kills and stops leaders and followers of real clusters and prints how long
//! the others take to serve everything again. With `--startup`: how long nodes
//! take to become Operational, alone and ten at once.
//!
//! Ends with code 1 when a trial breaks a promise: slower than a second, a map
//! that moves again or too far, a lost request.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser;
use funk_benches::startup;
use funk_benches::statistics::Sample;
use funk_tests::blackbox::cluster::{Discovery, discover_by};
use funk_tests::blackbox::fault::{Fault, Victim};
use funk_tests::blackbox::trial::{Outcome, Plan, run};
use serde_json::{Value, json};

/// Every survivor serves again within this time of the signal.
const SERVE_MAX: Duration = Duration::from_secs(1);

/// Measures fail-overs of real clusters on the loopback address.
#[derive(Parser, Debug)]
struct Arguments {
    /// Trials in each cell, or of each kind of start.
    #[arg(long, default_value_t = 20)]
    trials: usize,
    /// Sizes of the clusters.
    #[arg(long, value_delimiter = ',', default_value = "3,5")]
    nodes: Vec<usize>,
    /// How a node is lost: kill, stop, reap (a kill that the watcher reports), fence (a kill where
    /// the service's store refuses older epochs), leave (SIGTERM), cut (its host's cable is pulled; takes root).
    #[arg(long, value_delimiter = ',', default_value = "kill,stop")]
    fault: Vec<Fault>,
    /// Which node is lost: leader, follower.
    #[arg(long, value_delimiter = ',', default_value = "leader,follower")]
    victim: Vec<Victim>,
    /// Clusters at once. More than one makes the times worse than they are.
    #[arg(long, default_value_t = 1)]
    parallel: usize,
    /// Seconds that the map must stand still afterwards.
    #[arg(long, default_value_t = 15.0)]
    settle: f64,
    /// Sends 1,000 requests a second throughout and fails when one is lost.
    #[arg(long)]
    with_client: bool,
    /// Measures starts instead.
    #[arg(long)]
    startup: bool,
    /// Writes the figures of each cell to this file, too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// How the nodes find each other.
    #[arg(long, value_enum, default_value = "join")]
    discovery: Discovery,
}

/// Medians of other systems on a comparable machine, in milliseconds:
/// nodes (0: any), fault, victim, label, median.
const REFERENCES: [(usize, Fault, Victim, &str, u32); 8] = [
    (3, Fault::Kill, Victim::Leader, "Go original", 1_334),
    (3, Fault::Kill, Victim::Follower, "Go original", 5_727),
    (3, Fault::Stop, Victim::Leader, "Go original", 1_353),
    (5, Fault::Kill, Victim::Leader, "Go original", 1_314),
    (5, Fault::Kill, Victim::Follower, "Go original", 5_502),
    (5, Fault::Stop, Victim::Leader, "Go original", 1_298),
    (3, Fault::Kill, Victim::Leader, "etcd, 10/100 ms, first write", 168),
    (3, Fault::Stop, Victim::Leader, "etcd, 10/100 ms, first write", 167),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    discover_by(arguments.discovery);
    let verdict = match arguments.startup {
        true => startup::measure(arguments.trials),
        false => cells(&arguments),
    };
    match verdict {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failover: {error}");
            ExitCode::FAILURE
        }
    }
}

fn cells(arguments: &Arguments) -> Result<(), String> {
    let (mut broken, mut figures) = (Vec::new(), Vec::new());
    let settle = Duration::try_from_secs_f64(arguments.settle).map_err(|error| format!("--settle: {error}"))?;
    for &nodes in &arguments.nodes {
        for &fault in &arguments.fault {
            for &victim in &arguments.victim {
                let plan = Plan { nodes, fault, victim, settle, load: arguments.with_client };
                let results = trials(&plan, arguments.trials, arguments.parallel.max(1));
                let outcomes: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok().cloned()).collect();
                broken.extend(results.into_iter().filter_map(Result::err));
                broken.extend(outcomes.iter().flat_map(|outcome| promises_broken(&plan, outcome)));
                print_cell(&plan, &outcomes);
                figures.push(figure(&plan, &outcomes));
            }
        }
    }
    if let Some(path) = &arguments.json {
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let text = format!("{:#}\n", Value::from(figures));
        folder.and_then(|()| std::fs::write(path, text)).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    match broken.len() {
        0 => Ok(()),
        count => Err(format!("{count} promises broken:\n{}", broken.join("\n"))),
    }
}

/// Runs the trials of a cell, some at a time; their results in no order.
fn trials(plan: &Plan, count: usize, parallel: usize) -> Vec<Result<Outcome, String>> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while next.fetch_add(1, Ordering::Relaxed) < count {
            let result = run(plan, &format!("failover-{}-{}-{}", plan.nodes, plan.fault, plan.victim));
            let mut results = results.lock().expect("no worker panics while it holds the results");
            match &result {
                Ok(outcome) => eprintln!("{plan}, {}/{count}: {}", results.len() + 1, brief(outcome)),
                Err(error) => eprintln!("{plan}, {}/{count}: {error}", results.len() + 1),
            }
            results.push(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..parallel {
            scope.spawn(work);
        }
    });
    results.into_inner().expect("every worker has ended")
}

fn promises_broken(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let mut broken = Vec::new();
    if outcome.times.serve > SERVE_MAX {
        broken.push(format!("{plan}: served again only after {:?}", outcome.times.serve));
    }
    if outcome.moved > outcome.moved_max {
        broken.push(format!("{plan}: {} shards moved, {} may", outcome.moved, outcome.moved_max));
    }
    if outcome.later_epochs > 0 {
        broken.push(format!("{plan}: {} more epochs after all had agreed on one", outcome.later_epochs));
    }
    broken
}

fn brief(outcome: &Outcome) -> String {
    let times = &outcome.times;
    let show = |time: Option<Duration>| time.map_or("-".into(), |time| format!("{:.0}", time.as_secs_f64() * 1e3));
    let load = outcome.load.as_ref().map_or(String::new(), |load| format!("; {load}"));
    format!(
        "detect {} elect {} map {} serve {} ms, {} of {} shards moved, {} later epochs, {} lapses, rejoined {}{load}",
        show(times.detect),
        show(times.elect),
        show(Some(times.map)),
        show(Some(times.serve)),
        outcome.moved,
        outcome.moved_max,
        outcome.later_epochs,
        outcome.lapses,
        show(outcome.rejoined),
    )
}

/// The times of a cell for another program: milliseconds from the signal.
fn figure(plan: &Plan, outcomes: &[Outcome]) -> Value {
    let spread = |values: Vec<Duration>| {
        let sample = Sample::new(values);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        json!({"median": ms(sample.median()), "p99": ms(sample.percentile(99)), "max": ms(sample.max())})
    };
    json!({
        "cell": plan.to_string(),
        "trials": outcomes.len(),
        "detect_ms": spread(outcomes.iter().filter_map(|outcome| outcome.times.detect).collect()),
        "elect_ms": spread(outcomes.iter().filter_map(|outcome| outcome.times.elect).collect()),
        "map_ms": spread(outcomes.iter().map(|outcome| outcome.times.map).collect()),
        "serve_ms": spread(outcomes.iter().map(|outcome| outcome.times.serve).collect()),
    })
}

fn print_cell(plan: &Plan, outcomes: &[Outcome]) {
    println!("\n{plan}: milliseconds from the fault");
    println!("{:>10} {}", "", Sample::head());
    let row = |name: &str, values: Vec<Duration>| println!("{name:>10} {}", Sample::new(values).row());
    row("detect", outcomes.iter().filter_map(|outcome| outcome.times.detect).collect());
    if plan.victim == Victim::Leader {
        row("elect", outcomes.iter().filter_map(|outcome| outcome.times.elect).collect());
    }
    row("map", outcomes.iter().map(|outcome| outcome.times.map).collect());
    row("serve", outcomes.iter().map(|outcome| outcome.times.serve).collect());
    if plan.fault.passes() {
        row("rejoined", outcomes.iter().filter_map(|outcome| outcome.rejoined).collect());
    }
    let moved = outcomes.iter().map(|outcome| outcome.moved).max().unwrap_or_default();
    let moved_max = outcomes.first().map_or(0, |outcome| outcome.moved_max);
    let lapses: u32 = outcomes.iter().map(|outcome| outcome.lapses).sum();
    let later: u32 = outcomes.iter().map(|outcome| outcome.later_epochs).sum();
    println!("  at most {moved} shards moved ({moved_max} may), later epochs {later}, lapses {lapses}");
    if outcomes.iter().any(|outcome| outcome.load.is_some()) {
        let slowest = outcomes.iter().filter_map(|outcome| outcome.load.as_ref()).map(|load| load.slowest).collect();
        row("slowest", slowest);
        println!("  slowest: of 1,000 requests a second throughout, none lost where the trial passed");
    }
    for (nodes, fault, victim, label, median) in REFERENCES {
        if (nodes, fault, victim) == (plan.nodes, plan.fault, plan.victim) {
            println!("  for comparison, {label}: median {median}");
        }
    }
}
