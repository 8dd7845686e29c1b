//! The demo client.

use std::process::ExitCode;

use funk::tokio::Tokio;
use funk_cli::{complain, flush, print};
use funk_demo::client::{ClientFlags, run};
use funk_demo::flags::parse_or_exit;

fn main() -> ExitCode {
    let code = start();
    flush();
    code
}

fn start() -> ExitCode {
    let flags: ClientFlags = parse_or_exit();
    if let Err(why) = flags.check() {
        complain(&why);
        return ExitCode::from(2);
    }
    let json = flags.json;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("the runtime does not start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run::<Tokio>(flags)) {
        Ok(report) => {
            if json {
                print(&format!("{}\n", report.json()));
            } else {
                print(&format!("{report}\n"));
            }
            if let Some(why) = report.last_loss.as_deref() {
                complain(&format!("last lost request: {why}"));
            }
            if report.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}
