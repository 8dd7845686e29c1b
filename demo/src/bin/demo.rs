//! One node of a cluster with the demo service on it.

use std::io;
use std::process::ExitCode;

use funk_demo::flags::{LogFormat, NodeFlags, RuntimeName, parse_or_exit};
use funk_demo::node::{Failure, Stop, run};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let flags: NodeFlags = parse_or_exit();
    if let Err(why) = flags.check() {
        eprintln!("{why}");
        return ExitCode::from(2);
    }
    log(&flags);
    match serve(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(why)) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn log(flags: &NodeFlags) {
    let logs = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(EnvFilter::new(&flags.log_level));
    match flags.log_format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}

fn serve(flags: &NodeFlags) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure(format!("the runtime does not start: {error}"));
    let stop = Stop::on_signals().map_err(|error| Failure(format!("signals cannot be caught: {error}")))?;
    match flags.runtime {
        RuntimeName::Tokio => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let runtime = builder.worker_threads(2).enable_all().build().map_err(failed)?;
            let result = runtime.block_on(run::<funk_tokio::Tokio>(flags, &stop));
            // Nothing of what still runs may hold up the end.
            runtime.shutdown_background();
            result
        }
        RuntimeName::Smol => smol::block_on(run::<funk_smol::Smol>(flags, &stop)),
    }
}
