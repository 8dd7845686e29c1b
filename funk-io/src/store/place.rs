//! Whether the files of a data directory are still where the next process will look for them.
//!
//! An open file can be written to long after its name is gone. What is acknowledged then is lost with the process.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StoreError;

/// A file or directory that is open, and the name under which it must be found.
#[derive(Clone, Debug)]
pub(super) struct Place {
    path: PathBuf,
    open: Arc<File>,
}

impl Place {
    pub(super) fn new(path: PathBuf, open: Arc<File>) -> Self {
        Self { path, open }
    }

    /// A directory, which is opened for it.
    pub(super) fn of_directory(path: &Path) -> io::Result<Self> {
        Ok(Self::new(path.to_owned(), Arc::new(File::open(path)?)))
    }

    /// # Errors
    /// The name leads nowhere, or to another file.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let number = |meta: &Metadata| (meta.dev(), meta.ino());
        let failed = |error: io::Error| StoreError::new(&self.path, format!("looking for it: {error}"));
        let open = self.open.metadata().map_err(failed)?;
        match std::fs::metadata(&self.path) {
            Ok(found) if number(&found) == number(&open) => Ok(()),
            Ok(_) => {
                Err(StoreError::new(&self.path, "it was replaced while the node ran: what was written is elsewhere"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::new(
                &self.path,
                "it was removed or renamed while the node ran: what was written is lost",
            )),
            Err(error) => Err(failed(error)),
        }
    }
}
