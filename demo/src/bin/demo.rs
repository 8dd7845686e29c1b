//! One node of a cluster with the demo service on it.

use std::io;
use std::process::ExitCode;

use funk::{Runtime, watcher};
use funk_cli::{Failure, complain, flush, give_memory_back_soon, stop_on_signals};
use funk_demo::flags::{Advertised, NodeFlags, RuntimeName, parse_or_exit};
use funk_demo::node::run;
use funk_demo::security::Security;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Gives back what a flood of requests or connections took: docs/decisions/allocator.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    watcher::run_if_started_as_one();
    give_memory_back_soon();
    let code = start();
    flush();
    code
}

fn start() -> ExitCode {
    let flags: NodeFlags = parse_or_exit();
    let (told, security) = match settings(&flags) {
        Ok(settings) => settings,
        Err(why) => {
            complain(&why);
            return ExitCode::from(2);
        }
    };
    flags.logs.start();
    allow_many_files();
    if flags.guard
        && let Err(why) = watcher::start()
    {
        tracing::info!(%why, "no watcher: the others notice a crash of this process by its silence only");
    }
    match serve(&flags, &told, security) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(why)) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

/// What the flags name: addresses, and what is in files.
fn settings(flags: &NodeFlags) -> Result<(Advertised, Security), String> {
    flags.check()?;
    Ok((flags.advertise.resolve()?, Security::load(flags)?))
}

/// Every connection is a file. The lower limit that a process usually begins with is for programs of old that
/// count them in a bit set; without the right to more it stays as it is.
fn allow_many_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

fn serve(flags: &NodeFlags, told: &Advertised, security: Security) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure(format!("the runtime does not start: {error}"));
    let stop = stop_on_signals().map_err(|error| Failure(format!("signals cannot be caught: {error}")))?;
    let security = security.keep_up_to_date()?;
    let security = &security;
    match flags.runtime {
        RuntimeName::Tokio => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let runtime = builder.worker_threads(2).enable_all().build().map_err(failed)?;
            let result = runtime.block_on(run::<funk::tokio::Tokio>(flags, told, security, &stop));
            // Nothing of what still runs may hold up the end.
            runtime.shutdown_background();
            result
        }
        RuntimeName::Smol => smol::block_on(run::<funk::smol::Smol>(flags, told, security, &stop)),
        RuntimeName::AsyncStd => {
            funk::async_std::AsyncStd::block_on(run::<funk::async_std::AsyncStd>(flags, told, security, &stop))
                .map_err(failed)?
        }
    }
}
