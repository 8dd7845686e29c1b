//! Kills all nodes of a cluster at once under load, again and again.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use funk_tests::blackbox::statistics::Sample;
use funk_tests::ledger::node::{Node, run};
use funk_tests::ledger::round::Trial;

#[derive(Parser, Debug)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    node: Option<Part>,
    #[command(flatten)]
    check: Check,
}

#[derive(Subcommand, Debug)]
enum Part {
    /// One node of the cluster under test.
    Node(Node),
}

/// Kills and restarts a cluster with data directories.
#[derive(Args, Debug)]
struct Check {
    /// Rounds.
    #[arg(long, default_value_t = 50)]
    rounds: usize,
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Numbers that are acknowledged before the nodes are killed, in each round.
    #[arg(long, default_value_t = 500)]
    writes: usize,
    /// The nodes forget one number in a hundred, to see that the check finds it.
    #[arg(long)]
    forgets: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.node {
        Some(Part::Node(node)) => run(node),
        None => check(&arguments.check),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("restart: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(check: &Check) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut trial = Trial::start(&program, "restart", check.nodes, check.forgets)?;
    let (mut times, mut late) = (Vec::new(), 0);
    for number in 1..=check.rounds {
        let round = trial.round(check.writes).map_err(|error| format!("round {number}: {error}"))?;
        let took = round.took.as_millis();
        let moved =
            if round.moved > 0 { format!(", {} shards of a late node moved", round.moved) } else { String::new() };
        println!(
            "round {number}: one map after {took} ms, all {} acknowledged numbers held{moved}",
            round.acknowledged
        );
        times.push(round.took);
        late += usize::from(round.moved > 0);
    }
    println!("{} rounds with the map of before, {late} in which a node started too late for it", check.rounds - late);
    println!("milliseconds from the last start to one map on all nodes\n{}", Sample::head());
    println!("{}", Sample::new(times).row());
    Ok(())
}
