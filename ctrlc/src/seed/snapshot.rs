//! The file that outlasts a restart: an address and a name a line.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Bytes of the file that are read; what is longer was not written here.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The file, and what it holds.
#[derive(Debug)]
pub(super) struct Snapshot {
    path: PathBuf,
    text: String,
}

impl Snapshot {
    /// Reads the file, or makes an empty one.
    ///
    /// # Errors
    /// It cannot be read, or not be written.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut text = String::new();
        match File::open(path) {
            Ok(file) => {
                file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let snapshot = Self { path: path.to_owned(), text };
        // What cannot be written is better known now than when it is needed.
        snapshot.replace(&snapshot.text)?;
        Ok(snapshot)
    }

    /// The addresses in it. Lines that hold none are passed over.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let lines = self.text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
    }

    /// Writes these in place of what it held; nothing is done where nothing changed. With
    /// nobody to write down it keeps those it has: they may be away for a while.
    ///
    /// # Errors
    /// It cannot be written; the old file is whole.
    pub(super) fn keep(&mut self, members: &[(SocketAddr, &str)]) -> io::Result<()> {
        if members.is_empty() {
            return Ok(());
        }
        let mut text = String::from("# Members that this seed saw last: gossip address and name.\n");
        for (address, name) in members {
            let _ = writeln!(text, "{address} {name}");
        }
        if text == self.text {
            return Ok(());
        }
        self.replace(&text)?;
        self.text = text;
        Ok(())
    }

    /// A reader sees the old file or the new one, also after a loss of power.
    fn replace(&self, text: &str) -> io::Result<()> {
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("funk-seed-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir.join("seed.snapshot")
    }

    #[test]
    fn what_was_kept_is_there_after_a_restart() {
        let path = scratch("kept");
        let mut snapshot = Snapshot::open(&path).unwrap();
        assert!(snapshot.addresses().is_empty());
        let (a, b) = ("127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap());
        snapshot.keep(&[(a, "a"), (b, "b")]).unwrap();
        snapshot.keep(&[]).unwrap();
        assert_eq!(Snapshot::open(&path).unwrap().addresses(), [a, b]);
        snapshot.keep(&[(b, "b")]).unwrap();
        assert_eq!(Snapshot::open(&path).unwrap().addresses(), [b]);
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn damaged_lines_are_passed_over() {
        let path = scratch("damaged");
        fs::write(&path, "# x\n127.0.0.1:1 a\nnonsense\n\n127.0.0.1\n127.0.0.1:2").unwrap();
        let addresses = Snapshot::open(&path).unwrap().addresses();
        assert_eq!(addresses, ["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()]);
        assert!(Snapshot::open(path.parent().unwrap()).is_err(), "a directory is no file");
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
