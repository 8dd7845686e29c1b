//! Manages a cluster.

use std::process::ExitCode;

use funk_cli::{complain, flush, parse_or_exit, print};
use funk_ctrlc::ctl::{CtrlFlags, Failure, offline, run};

fn main() -> ExitCode {
    let code = start();
    flush();
    code
}

fn start() -> ExitCode {
    let flags: CtrlFlags = parse_or_exit();
    if let Err(why) = flags.check() {
        complain(&why);
        return ExitCode::from(2);
    }
    if let Some(text) = offline(&flags) {
        print(&text);
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("the runtime does not start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(&flags));
    // A look-up of a name may still block.
    runtime.shutdown_background();
    match result {
        Ok(answer) => {
            if let Some(note) = &answer.note {
                complain(note);
            }
            print(&answer.show(flags.output));
            if answer.good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(failure) => {
            complain(&failure.to_string());
            match failure {
                Failure::Refused(_) => ExitCode::FAILURE,
                Failure::Usage(_) => ExitCode::from(2),
            }
        }
    }
}
