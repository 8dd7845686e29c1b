//! Writing the files of a data directory, one batch after another.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::limits::LOG_FILL_BYTES;
use bytes::Bytes;
use funk_proto::limits::LOG_FILE_BYTES_MAX;
use funk_proto::wire::journal::{self, FileKind};

use super::StoreError;
use super::place::Place;

/// The log file that is written to.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: Arc<File>,
    /// Where the next record goes.
    end: usize,
    /// Up to where the file holds zeros or records.
    filled: usize,
}

/// The files of one data directory.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    /// Sequence of the next record.
    next: u64,
    /// `None`: begun with the next record.
    log: Option<Log>,
    /// Kept for its memory.
    buffer: Vec<u8>,
    /// The directory, and its lock.
    places: [Place; 2],
}

impl Files {
    /// Continues after the record before `next`, in a new log file.
    pub(super) fn new(directory: PathBuf, next: u64, places: [Place; 2]) -> Self {
        Self { directory, next, log: None, buffer: Vec::new(), places }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether what was written is still where the next process will look for it.
    ///
    /// # Errors
    /// Names what is gone or was replaced.
    pub(super) fn check_places(&self) -> Result<(), StoreError> {
        self.places.iter().try_for_each(Place::check)?;
        let log = self.log.as_ref().map(|log| Place::new(log.path.clone(), Arc::clone(&log.file)));
        log.map_or(Ok(()), |log| log.check())
    }

    /// Writes a batch of records and makes it stable, with one sync.
    pub(super) fn append(&mut self, records: &[Bytes]) -> Result<(), StoreError> {
        if self.log.as_ref().is_some_and(|log| log.end >= LOG_FILE_BYTES_MAX) {
            self.log = None;
        }
        let log = match &mut self.log {
            Some(log) => log,
            none => none.insert(Log::create(&self.directory, self.next)?),
        };
        self.buffer.clear();
        let batch = self.next;
        for record in records {
            journal::put_record(&mut self.buffer, self.next, batch, record);
            self.next += 1;
        }
        log.append(&self.buffer).map_err(|error| StoreError::new(&log.path, format!("writing: {error}")))
    }

    /// Writes a record that replaces all before it, and removes what it replaces.
    pub(super) fn replace(&mut self, record: &Bytes) -> Result<(), StoreError> {
        let sequence = self.next;
        let name = journal::snapshot_name(sequence);
        write_whole(&self.directory, &name, &journal::single(FileKind::Snapshot, sequence, record))?;
        self.next += 1;
        self.log = None;
        self.remove_obsolete(sequence)
    }

    fn remove_obsolete(&self, snapshot: u64) -> Result<(), StoreError> {
        let failed = |error: io::Error| StoreError::new(&self.directory, format!("removing old files: {error}"));
        for entry in std::fs::read_dir(&self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let obsolete = name.to_str().and_then(journal::parse_name).is_some_and(|(_, number)| number < snapshot);
            if obsolete {
                std::fs::remove_file(self.directory.join(name)).map_err(failed)?;
            }
        }
        Ok(())
    }
}

impl Log {
    /// A new log file, stable with its name before any record goes into it.
    fn create(directory: &Path, first: u64) -> Result<Self, StoreError> {
        let path = directory.join(journal::log_name(first));
        let mut start = vec![0; LOG_FILL_BYTES];
        let fill = u32::try_from(LOG_FILL_BYTES).expect("half a mebibyte");
        start[..journal::HEADER_BYTES].copy_from_slice(&journal::log_header(first, fill));
        let file = write_whole(directory, &journal::log_name(first), &start)?;
        Ok(Self { path, file: Arc::new(file), end: journal::HEADER_BYTES, filled: LOG_FILL_BYTES })
    }

    /// Zeros ahead of the records spare most syncs the new length, which costs more than the data. They are stable
    /// before a record goes over them: a file that is too short for its records lost its end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.end + bytes.len();
        if end >= self.filled {
            let zeros = vec![0; end + LOG_FILL_BYTES - self.filled];
            self.file.write_all_at(&zeros, self.filled as u64)?;
            self.file.sync_data()?;
            self.filled = end + LOG_FILL_BYTES;
        }
        self.file.write_all_at(bytes, self.end as u64)?;
        self.file.sync_data()?;
        self.end = end;
        Ok(())
    }
}

/// Writes a file that has its name only when it is whole and stable, and leaves it open.
pub(super) fn write_whole(directory: &Path, name: &str, bytes: &[u8]) -> Result<File, StoreError> {
    let (path, temporary) = (directory.join(name), directory.join("temporary"));
    let written = || {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &path)?;
        sync_directory(directory)?;
        io::Result::Ok(file)
    };
    written().map_err(|error| StoreError::new(&path, format!("writing: {error}")))
}

/// Makes names stable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
