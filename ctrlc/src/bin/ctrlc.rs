//! Manages a cluster.

use std::io::{self, Write};
use std::process::ExitCode;

use funk_cli::parse_or_exit;
use funk_ctrlc::ctl::{CtrlFlags, Failure, offline, run};

fn main() -> ExitCode {
    let flags: CtrlFlags = parse_or_exit();
    if let Err(why) = flags.check() {
        eprintln!("{why}");
        return ExitCode::from(2);
    }
    if let Some(text) = offline(&flags) {
        say(&text);
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(&flags));
    // A look-up of a name may still block.
    runtime.shutdown_background();
    match result {
        Ok(answer) => {
            if let Some(note) = &answer.note {
                eprintln!("{note}");
            }
            say(&answer.show(flags.output));
            if answer.good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(failure) => {
            eprintln!("{failure}");
            match failure {
                Failure::Refused(_) => ExitCode::FAILURE,
                Failure::Usage(_) => ExitCode::from(2),
            }
        }
    }
}

/// Whoever reads may go away before the end.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
