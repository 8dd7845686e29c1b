//! Manages a cluster.

use std::process::ExitCode;

use funk_cli::{complain, flush, parse_or_exit, print};
use funk_ctrlc::ctl::{CtrlFlags, Failure, Screen, offline, run};

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
    if let Some(done) = offline(&flags) {
        return match done {
            Ok(text) => {
                print(&text);
                ExitCode::SUCCESS
            }
            Err(failure) => failed(&failure),
        };
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
            print(&answer.show(flags.output, Screen::stdout(flags.color)));
            ExitCode::from(answer.code)
        }
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &Failure) -> ExitCode {
    complain(&failure.to_string());
    ExitCode::from(failure.code())
}
