//! The demo client.

use std::process::ExitCode;

use funk_demo::client::{ClientFlags, run};
use funk_demo::flags::parse_or_exit;
use funk_tokio::Tokio;

fn main() -> ExitCode {
    let flags: ClientFlags = parse_or_exit();
    if let Err(why) = flags.check() {
        eprintln!("{why}");
        return ExitCode::from(2);
    }
    let json = flags.json;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run::<Tokio>(flags)) {
        Ok(report) => {
            if json {
                println!("{}", report.json());
            } else {
                println!("{report}");
            }
            if let Some(why) = report.last_loss.as_deref() {
                eprintln!("last lost request: {why}");
            }
            if report.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
