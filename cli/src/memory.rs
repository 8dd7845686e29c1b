//! How soon memory goes back to the machine.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// After how many searches for a free block a thread looks for pages that are free as a whole: 10,000 unless told.
const COLLECT_AFTER: (&str, &str) = ("MIMALLOC_GENERIC_COLLECT", "100");

/// Has the allocator give free pages of a quiet thread back within seconds. It reads its options before `main`, so
/// this program becomes itself once more, with the option in its environment: the same process, with the same
/// arguments and files. Where that cannot be done, it runs on as it is, and only its memory shrinks later.
///
/// Call it before anything else is begun.
pub fn give_memory_back_soon() {
    let (option, value) = COLLECT_AFTER;
    if std::env::var_os(option).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // It comes back only if it failed.
    let _ = again.args(arguments).env(option, value).exec();
}
