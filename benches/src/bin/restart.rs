//! Kills all nodes of a cluster at once under load, again and again.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use funk_benches::embedded;
use funk_benches::ledger::node::run;
use funk_benches::ledger::round::Trial;
use funk_benches::statistics::Sample;

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
    embedded::main(run, check)
}

fn check(check: &Check, program: &Path) -> Result<bool, String> {
    let mut trial = Trial::start(program, "restart", check.nodes, check.forgets)?;
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
    Ok(true)
}
