//! A gossip-only node that others join through.

use std::process::ExitCode;

use funk_cli::{Failure, complain, flush, give_memory_back_soon, parse_or_exit, stop_on_signals};
use funk_ctrlc::seed::{Advertised, SeedFlags, run};
use funk_proto::GossipKeys;
use funk_tokio::Tokio;

/// Gives back what a flood of streams took: docs/decisions/allocator.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    give_memory_back_soon();
    let code = start();
    flush();
    code
}

fn start() -> ExitCode {
    let flags: SeedFlags = parse_or_exit();
    let told = match flags.check().and_then(|()| flags.advertised()) {
        Ok(told) => told,
        Err(why) => {
            complain(&why);
            return ExitCode::from(2);
        }
    };
    flags.logs.start();
    let keys = match flags.gossip.load() {
        Ok(keys) => keys,
        Err(why) => {
            complain(&why);
            return ExitCode::from(2);
        }
    };
    match serve(&flags, &told, keys) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(why)) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

fn serve(flags: &SeedFlags, told: &Advertised, keys: Option<GossipKeys>) -> Result<(), Failure> {
    let stop = stop_on_signals().map_err(|error| Failure(format!("signals cannot be caught: {error}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure(format!("the runtime does not start: {error}")))?;
    let result = runtime.block_on(run::<Tokio>(flags, told, keys, &stop));
    // Nothing of what still runs may hold up the end.
    runtime.shutdown_background();
    result
}
