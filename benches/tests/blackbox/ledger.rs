//! All nodes killed at once under load, with a state of their own on the log.

use std::path::Path;

use funk_benches::ledger::round::Trial;
use funk_tests::blackbox::Tested;

fn trial(label: &str, forgets: bool) -> Result<Trial, String> {
    Trial::start(Path::new(env!("CARGO_BIN_EXE_restart")), label, 3, forgets)
}

#[test]
fn what_was_acknowledged_outlives_a_kill_of_all_nodes_at_once() -> Tested {
    let mut trial = trial("ledger", false)?;
    for _ in 0..3 {
        let round = trial.round(200)?;
        println!("{round:?}");
    }
    Ok(())
}

#[test]
fn nodes_that_forget_are_found() -> Tested {
    let error = trial("ledger-forgets", true)?.round(400).expect_err("numbers are missing");
    assert!(error.contains("lost"), "{error}");
    Ok(())
}
