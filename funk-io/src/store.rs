//! Where the core's writes go.
//!
//! | file | what |
//! |---|---|
//! | `data_dir` | opening a data directory: lock, identity, what was stable |
//! | `files` | writing the files of a data directory |
//! | `place` | whether the files are still where they were |
//! | `writer` | the thread that writes, so that a slow disk stops no heartbeat |

mod boots;
pub(crate) mod data_dir;
mod files;
mod place;
pub(crate) mod writer;

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};

use funk_proto::{Persist, Token};

use writer::Writer;

/// A data directory, or a file in it, that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreError {
    /// The file or directory at fault.
    pub path: PathBuf,
    /// What is wrong with it, and what to do.
    pub why: String,
}

impl StoreError {
    fn new(path: impl AsRef<Path>, why: impl fmt::Display) -> Self {
        Self { path: path.as_ref().to_owned(), why: why.to_string() }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

impl std::error::Error for StoreError {}

/// Stable storage, written in order. The driver hands records over and
/// collects the tokens of those that are stable.
#[derive(Debug)]
pub(crate) enum Store {
    /// Keeps nothing: every write is stable at once, for as long as the process lives.
    Memory(VecDeque<Token>),
    /// Writes to a data directory.
    Disk(Writer),
}

impl Store {
    /// Takes a record; it, and all before it, are to become stable.
    pub(crate) fn write(&mut self, persist: Persist) -> Result<(), StoreError> {
        match self {
            Self::Memory(stable) => stable.push_back(persist.token),
            Self::Disk(writer) => writer.write(persist)?,
        }
        Ok(())
    }

    /// The token of the next record that became stable, in the order of the
    /// writes. After an error nothing more becomes stable.
    pub(crate) fn poll_stable(&mut self) -> Result<Option<Token>, StoreError> {
        match self {
            Self::Memory(stable) => Ok(stable.pop_front()),
            Self::Disk(writer) => writer.poll_stable(),
        }
    }
}
