//! A run as a picture, in a file.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use funk_sim::picture::{Page, Verdict};
use funk_sim::run::run_with_picture;
use funk_sim::{Outcome, Plan};

/// Writes the page of a run that has its story and its picture; gives its size in bytes.
pub(crate) fn write(path: &Path, plan: &Plan, outcome: &Outcome) -> Result<usize, String> {
    let (Some(picture), Some(story)) = (&outcome.picture, &outcome.story) else {
        return Err("the run was not recorded as a picture".into());
    };
    let page = Page {
        title: &format!("Seed {}: {} nodes, {} s", plan.seed, plan.nodes, outcome.simulated.as_secs()),
        verdict: &verdict(outcome),
        command: &format!("make sim SEED={}", plan.seed),
        plan: &plan.to_string(),
        picture,
        story,
    };
    let html = page.html();
    std::fs::write(path, &html).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(html.len())
}

/// Runs a seed that failed once more, and writes its page into the directory.
pub(crate) fn of_failure(directory: &Path, plan: &Plan) -> Result<PathBuf, String> {
    std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let path = directory.join(format!("seed-{}.html", plan.seed));
    let outcome = catch_unwind(|| run_with_picture(plan)).map_err(|_| "it panics; its output says where")?;
    write(&path, plan, &outcome)?;
    Ok(path)
}

fn verdict(outcome: &Outcome) -> Verdict {
    if let Some(violation) = &outcome.violation {
        let at = violation.at.as_nanos() / 1_000;
        return Verdict { holds: false, words: violation.to_string(), broken: Some((at, violation.node)) };
    }
    let agreed = match outcome.healed_after {
        Some(took) => format!("the healed core agreed after {} ms", took.as_millis()),
        None => "no core was left to agree".into(),
    };
    Verdict { holds: true, words: format!("All properties hold; {agreed}."), broken: None }
}
