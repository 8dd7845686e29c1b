//! Finding one planted bug.

use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use funk_proto::mutate::{Mutant, plant};
use funk_sim::{Plan, run};

use super::{SCENARIOS, STORMS};

/// How a planted bug was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Seeds, or scenarios, that were run up to the one that found it.
    pub runs: u64,
    /// What was broken.
    pub what: String,
    /// The seed's number, or the scenario's name.
    pub by: String,
    /// How long that took.
    pub took: Duration,
}

/// What broke in one run with this bug planted; `None` if nothing did.
fn broken(mutant: Option<Mutant>, run: impl FnOnce() -> Option<String>) -> Option<String> {
    plant(mutant);
    let result = catch_unwind(AssertUnwindSafe(run));
    plant(None);
    result.unwrap_or_else(|_| Some("a panic".to_owned()))
}

fn seed(seed: u64) -> Option<String> {
    run(&Plan::draw(seed), false).violation.map(|violation| violation.property.to_owned())
}

/// The properties that seeds break without any bug planted: to see them broken proves nothing.
pub fn broken_anyway(seeds: u64) -> BTreeSet<String> {
    (0..seeds).filter_map(|n| broken(None, || seed(n))).collect()
}

/// Runs these seeds until one is broken that is whole without the bug.
pub fn by_seeds(mutant: Mutant, mut seeds: Range<u64>, anyway: &BTreeSet<String>) -> Option<Found> {
    let start = Instant::now();
    seeds.find_map(|n| {
        let what = broken(Some(mutant), || seed(n)).filter(|what| !anyway.contains(what))?;
        if broken(None, || seed(n)).is_some() {
            return None;
        }
        Some(Found { runs: n + 1, what, by: format!("seed {n}"), took: start.elapsed() })
    })
}

/// Runs the scenarios that lead where random seeds seldom come.
pub fn by_scenarios(mutant: Mutant) -> Option<Found> {
    let start = Instant::now();
    (1..).zip(SCENARIOS.iter().chain(STORMS)).find_map(|(runs, &(name, play))| {
        let what = broken(Some(mutant), play)?;
        if let Some(also) = broken(None, play) {
            eprintln!("the scenario `{name}` finds `{also}` without any bug planted: not counted");
            return None;
        }
        Some(Found { runs, what, by: name.to_owned(), took: start.elapsed() })
    })
}
