//! Opening a data directory: one process at a time, for one node.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use funk_proto::Recovered;
use funk_proto::id::{BootId, ClusterName, NodeName};
use funk_proto::wire::journal::{self, FileKind, Journal};
use rustix::fs::{FlockOperation, flock};

use super::files::{Files, sync_directory, write_whole};
use super::place::Place;
use super::{StoreError, boots};

const LOCK: &str = "lock";
const IDENTITY: &str = "identity";
/// Between the two names of the identity file; no name holds it.
const SEPARATOR: char = '\n';

/// The directory in which a node keeps its log and its snapshots, locked for
/// this process. A restarted node that opens it again is the same member.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Held as long as the process may write.
    lock: File,
    identity: Option<(NodeName, ClusterName)>,
    journal: Journal,
    /// Boots of processes that held the lock before, the newest last.
    former: Vec<BootId>,
}

impl DataDir {
    /// Locks and reads the directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`StoreError`] names the file: another process has the directory, a newer
    /// version wrote it, or something that was stable is not there any more.
    /// Nothing was changed then.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        std::fs::create_dir_all(&path).map_err(|error| StoreError::new(&path, format!("creating: {error}")))?;
        let lock = lock(&path.join(LOCK))?;
        let former = boots::former(&lock);
        let identity = read_identity(&path)?;
        let journal = read_journal(&path)?;
        Ok(Self { path, lock, identity, journal, former })
    }

    /// The name of the node that the directory belongs to; `None` if it is new.
    pub fn node_name(&self) -> Option<&NodeName> {
        self.identity.as_ref().map(|(name, _)| name)
    }

    /// The name of the cluster that the directory's node is to be in; `None` if it is new.
    pub fn cluster_name(&self) -> Option<&ClusterName> {
        self.identity.as_ref().map(|(_, cluster)| cluster)
    }

    /// Whether the directory holds a log, so that its node has a cluster to go on with.
    pub fn has_log(&self) -> bool {
        !self.journal.records.is_empty()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the directory into use for this node.
    pub(crate) fn claim(self, name: &NodeName, cluster: &ClusterName) -> Result<Claimed, StoreError> {
        let Self { path, lock, identity, journal, former } = self;
        match &identity {
            Some((owner, of)) if (owner, of) != (name, cluster) => {
                let why =
                    format!("it belongs to node {owner} of cluster {of}, not to node {name} of cluster {cluster}");
                return Err(StoreError::new(&path, why));
            }
            Some(_) => {}
            None => {
                let payload = format!("{name}{SEPARATOR}{cluster}");
                let whole = journal::single(FileKind::Identity, 0, payload.as_bytes());
                write_whole(&path, IDENTITY, &whole)?;
            }
        }
        tidy(&path, &journal)?;
        let lock = Arc::new(lock);
        let place = Place::of_directory(&path).map_err(|error| StoreError::new(&path, format!("opening: {error}")))?;
        let places = [place, Place::new(path.join(LOCK), Arc::clone(&lock))];
        let files = Files::new(path, journal.next, places);
        Ok(Claimed { lock, files, recovered: Recovered { records: journal.records }, former })
    }
}

/// A data directory in use.
#[derive(Debug)]
pub(crate) struct Claimed {
    /// Free when nobody holds it any more: who may write, and who may serve.
    pub(crate) lock: Arc<File>,
    pub(super) files: Files,
    pub(crate) recovered: Recovered,
    pub(crate) former: Vec<BootId>,
}

impl Claimed {
    /// This process is `boot`: the next one will know that it has ended.
    pub(crate) fn note_boot(&self, boot: BootId) {
        if let Err(error) = boots::note(&self.lock, &self.former, boot) {
            // The next process will wait for the leases of this one, as without a data directory.
            tracing::warn!(%error, "the lock file of the data directory cannot be written");
        }
    }
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.map_err(|error| StoreError::new(path, format!("opening: {error}")))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        let error = io::Error::from(error);
        if error.kind() == io::ErrorKind::WouldBlock {
            return StoreError::new(path, "another process uses this data directory: give each node its own");
        }
        StoreError::new(path, format!("locking: {error}"))
    })?;
    Ok(file)
}

fn read(path: &Path) -> Result<Bytes, StoreError> {
    std::fs::read(path).map(Bytes::from).map_err(|error| StoreError::new(path, format!("reading: {error}")))
}

fn read_identity(directory: &Path) -> Result<Option<(NodeName, ClusterName)>, StoreError> {
    let path = directory.join(IDENTITY);
    if !path.try_exists().map_err(|error| StoreError::new(&path, format!("opening: {error}")))? {
        return Ok(None);
    }
    let payload = journal::read_single(FileKind::Identity, 0, &read(&path)?);
    let payload = payload.map_err(|damage| StoreError::new(&path, damage))?;
    let names = std::str::from_utf8(&payload).ok().and_then(|text| text.split_once(SEPARATOR));
    let names = names.and_then(|(name, cluster)| Some((name.parse().ok()?, cluster.parse().ok()?)));
    names.map(Some).ok_or_else(|| StoreError::new(&path, "it does not hold two names"))
}

fn read_journal(directory: &Path) -> Result<Journal, StoreError> {
    let failed = |error: io::Error| StoreError::new(directory, format!("reading: {error}"));
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if let Some(name) = name.to_str().filter(|name| journal::parse_name(name).is_some()) {
            files.insert(name.to_owned(), read(&directory.join(name))?);
        }
    }
    let refused = " (this node must not go on with it; if the other nodes have a majority, \
                   an empty data directory makes it a new member)";
    journal::open(&files).map_err(|bad| StoreError::new(directory.join(&bad.file), format!("{}{refused}", bad.damage)))
}

/// Cuts what follows the last record off: but for a few zeros, of which the header knows.
fn cut(directory: &Path, name: &str, end: usize) -> Result<(), StoreError> {
    const ZEROS: usize = 8;
    let bytes = read(&directory.join(name))?;
    let (_, first) = journal::parse_name(name).expect("it was read by its name");
    let fill = u32::try_from(end + ZEROS).unwrap_or_default();
    let header = journal::log_header(first, fill);
    let whole = [&header[..], &bytes[journal::HEADER_BYTES..end], &[0; ZEROS]].concat();
    if *bytes != whole[..] {
        write_whole(directory, name, &whole)?;
    }
    Ok(())
}

/// Cuts a torn tail, and removes what a snapshot replaced before a crash could.
fn tidy(directory: &Path, journal: &Journal) -> Result<(), StoreError> {
    for name in &journal.obsolete {
        let path = directory.join(name);
        std::fs::remove_file(&path).map_err(|error| StoreError::new(&path, format!("removing: {error}")))?;
    }
    if let Some((name, end)) = &journal.tail {
        let path = directory.join(name);
        let failed = |error: io::Error| StoreError::new(&path, format!("cutting its torn end: {error}"));
        if *end == 0 {
            std::fs::remove_file(&path).map_err(failed)?;
        } else {
            cut(directory, name, *end)?;
        }
    }
    sync_directory(directory).map_err(|error| StoreError::new(directory, format!("syncing: {error}")))
}
