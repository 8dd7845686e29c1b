//! The file of the gossip keyring, written anew when the ring changes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use funk_proto::Keyring;

use crate::shared::{Command, Shared};

/// The driver's end of the thread that writes the file. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct KeyringThread(Sender<Keyring>);

impl KeyringThread {
    /// Starts the thread.
    pub(crate) fn start(path: PathBuf, shared: Arc<Shared>) -> io::Result<Self> {
        let (sender, changed) = channel::<Keyring>();
        let thread = std::thread::Builder::new().name(format!("funk-{}-keyring", shared.name));
        thread.spawn(move || {
            while let Ok(ring) = changed.recv() {
                let written = write(&path, &ring);
                if let Err(error) = &written {
                    let (node, file) = (shared.name.as_str(), path.display());
                    tracing::error!(node, %file, %error, "the keyring file cannot be written");
                }
                let result = written.map_err(|error| format!("the keyring file cannot be written: {error}"));
                if shared.inbox.send_blocking(Command::RingKept(result)).is_err() {
                    return;
                }
                shared.wake.wake_by_ref();
            }
        })?;
        Ok(Self(sender))
    }

    /// Has the ring written; the answer comes as a command. False if the thread has ended.
    pub(crate) fn keep(&self, ring: Keyring) -> bool {
        self.0.send(ring).is_ok()
    }
}

/// Replaces the file, as a whole or not at all. Only its owner can read it.
fn write(path: &Path, ring: &Keyring) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(ring.to_json().as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use funk_proto::GossipKey;

    use super::*;

    #[test]
    fn the_file_is_replaced_as_a_whole_and_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = std::env::temp_dir().join(format!("funk-keyring-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("keyring.json");
        std::fs::write(&path, "[]").unwrap();
        // What a process left that ended in the middle is no hindrance.
        std::fs::write(directory.join("keyring.json.new"), "half").unwrap();
        let ring = Keyring::new(GossipKey::new(&[7; 32]).unwrap());
        write(&path, &ring).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), ring.to_json());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(write(&path, &ring).is_err(), "its directory is gone");
    }
}
