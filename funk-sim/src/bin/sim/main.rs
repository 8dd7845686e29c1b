//! Runs seeds: one with its story, or many.
//!
//! | part | what |
//! |---|---|
//! | this file | flags, and one run |
//! | `many` | many runs on all cores |
//! | `report` | what was counted |
//! | `html` | a run as a picture |
//! | `out` | standard output that may be closed |

mod html;
mod many;
mod out;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use funk_sim::plan::seed_of;
use funk_sim::run::run_with_picture;
use funk_sim::shrink::shrink;
use funk_sim::{Plan, Topic, run};
use out::Out;

/// Simulates whole clusters, each from one seed.
#[derive(Debug, Parser)]
struct Flags {
    /// One seed, with its story. Any text is a seed: a number, or a commit's hash.
    #[arg(long)]
    seed: Option<String>,
    /// A plan that was kept, instead of a seed.
    #[arg(long)]
    plan: Option<PathBuf>,
    /// Only lines about these nodes, separated by commas.
    #[arg(long, value_delimiter = ',')]
    node: Vec<String>,
    /// Only lines about these topics: fault, process, event, state, datagram, stream, disk, client, check.
    #[arg(long, value_delimiter = ',')]
    kind: Vec<String>,
    /// Write the run as a picture with its story into this file: one HTML page that needs nothing else. The story is
    /// printed as well if --node or --kind asks for a part of it.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Of many seeds, write the first that fail as such pages into this directory.
    #[arg(long, value_name = "DIRECTORY")]
    html_on_failure: Option<PathBuf>,
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
    let mut out = Out::stdout();
    if flags.seeds.is_some() || flags.minutes.is_some() {
        return many::run_seeds(&flags, &mut out);
    }
    let ended = plan_of(&flags).and_then(|plan| {
        if flags.show_plan {
            out.line(plan.to_string().trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        one(&flags, &plan, &mut out)
    });
    out.flush();
    match ended {
        Ok(code) => code,
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
    Ok(drawn(flags, seed_of(seed)))
}

fn drawn(flags: &Flags, seed: u64) -> Plan {
    Plan { certified: flags.certified, ..Plan::draw(seed) }
}

fn one(flags: &Flags, plan: &Plan, out: &mut Out<impl std::io::Write>) -> Result<ExitCode, String> {
    let started = Instant::now();
    let topics: Vec<Topic> = Topic::ALL
        .iter()
        .filter(|(_, word)| flags.kind.iter().any(|kind| kind == word))
        .map(|(topic, _)| *topic)
        .collect();
    let filtered = !flags.node.is_empty() || !topics.is_empty();
    let outcome = if flags.html.is_some() { run_with_picture(plan) } else { run(plan, true) };
    let told = outcome.story.as_ref().filter(|_| flags.html.is_none() || filtered);
    for line in told.into_iter().flat_map(|story| story.filtered(&flags.node, &topics)) {
        out.line(line);
        if out.is_closed() {
            break;
        }
    }
    report::report(out, &outcome.tally, 1, outcome.simulated, started.elapsed(), 1);
    out.line(format_args!("trace hash {:016x}", outcome.hash));
    if let Some(path) = &flags.html {
        let bytes = html::write(path, plan, &outcome)?;
        out.line(format_args!("{} holds the run as a picture ({} KB)", path.display(), bytes.div_ceil(1_000)));
    }
    let Some(violation) = outcome.violation else {
        let agreed = outcome.healed_after;
        out.line(format_args!("seed {}: all properties hold, the core agreed after {agreed:?}", plan.seed));
        return Ok(ExitCode::SUCCESS);
    };
    out.line(format_args!("seed {}: {violation}", plan.seed));
    if flags.shrink {
        let (small, runs) = shrink(plan, violation.property);
        out.line(format_args!("the smallest plan of {runs} that breaks it:\n{small}"));
    }
    Ok(ExitCode::FAILURE)
}
