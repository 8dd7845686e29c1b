//! The files of recordings, and how many of them are kept.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use funk_record::{Dump, Payloads};

use crate::limits::RECORDINGS_KEPT_MAX;

/// How the name of a recording ends.
const ENDING: &str = ".funkrec";
/// The reason of a recording that somebody asked for.
pub(super) const ASKED: &str = "asked";
/// How the name of one ends that is not whole yet.
const UNFINISHED: &str = ".part";

/// Writes a recording under a name of its own; gives path and bytes, or what failed. Only this user may read it: it
/// holds the node's seed.
pub(super) fn write(
    directory: &Path,
    node: &str,
    dump: &Dump,
    reason: &str,
    now_ns: i64,
    payloads: Payloads,
) -> Result<(PathBuf, u64), (PathBuf, io::Error)> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory).map_err(|error| (directory.to_owned(), error))?;
    let name = format!("{node}-{:013}-{reason}", now_ns / 1_000_000);
    let unfinished = directory.join(format!("{name}{UNFINISHED}"));
    let path = directory.join(format!("{name}{ENDING}"));
    let written = create(&unfinished).and_then(|file| {
        let mut to = BufWriter::new(file);
        let bytes = dump.write(&mut to, reason, now_ns, payloads)?;
        to.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&unfinished, &path)?;
        Ok(bytes)
    });
    match written {
        Ok(bytes) => Ok((path, bytes)),
        Err(error) => {
            // Half a recording is of no use; if it cannot be removed, the next tidying tries again.
            let _ = std::fs::remove_file(&unfinished);
            Err((path, error))
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Removes the oldest recordings of this node, of those that somebody asked for or of the others.
pub(super) fn tidy(directory: &Path, node: &str, asked: bool) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| asked_for(name, node) == Some(asked))
        .collect();
    names.sort_unstable();
    let excess = names.len().saturating_sub(RECORDINGS_KEPT_MAX);
    for name in &names[..excess] {
        // What cannot be removed stays; the next recording tries again.
        let _ = std::fs::remove_file(directory.join(name));
    }
}

/// Whether somebody asked for the recording of this name; `None` if it is none of this node.
fn asked_for(name: &str, node: &str) -> Option<bool> {
    let (time, reason) = name.strip_prefix(node)?.strip_prefix('-')?.strip_suffix(ENDING)?.split_once('-')?;
    time.bytes().all(|byte| byte.is_ascii_digit()).then_some(reason == ASKED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_of_this_node_are_known_by_their_names() {
        for (name, asked) in [
            ("n1-0000000000001-failover.funkrec", Some(false)),
            ("n1-0000000000001-asked.funkrec", Some(true)),
            ("n1-a-0000000000001-failover.funkrec", None),
            ("n12-0000000000001-failover.funkrec", None),
            ("n1-0000000000001-failover.part", None),
            ("notes.txt", None),
        ] {
            assert_eq!(asked_for(name, "n1"), asked, "{name}");
        }
    }
}
