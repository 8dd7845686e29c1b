//! Which processes have used a data directory, in its lock file.
//!
//! A process lets the lock go when nobody in it may serve any more, or the
//! kernel does when it ends. So whoever has the lock knows that every process
//! which had it before serves nothing, and need not wait for the leases of
//! those. Network file systems do not always keep locks: there, nothing is said.
//! A disk that was moved to another machine says nothing either: the kernel
//! there knows nothing of the processes here.
//!
//! What stands in the file is a hint, read only by who holds the lock: a boot
//! that is missing, for a power failure or a torn write, is waited for.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use funk_proto::id::BootId;
use funk_proto::limits::FORMER_BOOTS_MAX;

/// The first line; another one is of another version.
const HEAD: &str = "funk boots 1";

/// The boots in a lock file, the newest last; none where a lock proves nothing.
pub(super) fn former(lock: &File) -> Vec<BootId> {
    if keeps_locks(lock) { read(lock).unwrap_or_default() } else { Vec::new() }
}

/// Adds `boot` to those before it.
pub(super) fn note(lock: &File, former: &[BootId], boot: BootId) -> io::Result<()> {
    let kept = former.len().saturating_sub(FORMER_BOOTS_MAX - 1);
    let mut text = format!("{HEAD}\n{}\n", kernel()).into_bytes();
    for boot in former[kept..].iter().chain([&boot]) {
        writeln!(text, "{:016x}", boot.get())?;
    }
    lock.write_all_at(&text, 0)?;
    lock.set_len(text.len() as u64)
}

fn read(lock: &File) -> io::Result<Vec<BootId>> {
    let mut text = String::new();
    Read::take(lock, 1024).read_to_string(&mut text)?;
    let mut lines = text.lines();
    let kernel = kernel();
    if lines.next() != Some(HEAD) || kernel.is_empty() || lines.next() != Some(&kernel) {
        return Ok(Vec::new());
    }
    let whole = lines.filter(|line| line.len() == 16);
    let boots: Vec<BootId> = whole.filter_map(|line| BootId::new(u64::from_str_radix(line, 16).ok()?)).collect();
    Ok(boots[boots.len().saturating_sub(FORMER_BOOTS_MAX)..].to_vec())
}

/// Which start of which machine's kernel this is; empty if that is not to be known.
fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().into()
}

/// Whether the file system is one of this machine's own: by the numbers of statfs(2).
#[cfg(target_os = "linux")]
fn keeps_locks(lock: &File) -> bool {
    const EXT: u64 = 0xEF53;
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683E;
    const F2FS: u64 = 0xF2F5_2010;
    const ZFS: u64 = 0x2FC1_2FC1;
    const TMPFS: u64 = 0x0102_1994;
    const OVERLAY: u64 = 0x794C_7630;
    // The number's type is another on some machines.
    let kind = rustix::fs::fstatfs(lock).ok().and_then(|system| u64::try_from(system.f_type).ok());
    kind.is_some_and(|kind| [EXT, XFS, BTRFS, F2FS, ZFS, TMPFS, OVERLAY].contains(&(kind & 0xFFFF_FFFF)))
}

#[cfg(not(target_os = "linux"))]
fn keeps_locks(_: &File) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(n: u64) -> BootId {
        BootId::new(n).unwrap()
    }

    fn file(name: &str) -> File {
        let path = std::env::temp_dir().join(format!("funk-boots-{}-{name}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    #[test]
    fn the_newest_boots_are_remembered_in_their_order() {
        let lock = file("order");
        assert_eq!(read(&lock).unwrap(), []);
        let mut known = Vec::new();
        for n in 1..=20 {
            note(&lock, &known, boot(n)).unwrap();
            let mut lock = &lock;
            io::Seek::rewind(&mut lock).unwrap();
            known = read(lock).unwrap();
            assert_eq!(known.last(), Some(&boot(n)));
        }
        assert_eq!(known, (13..=20).map(boot).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_torn_of_another_version_or_machine_says_nothing() {
        let here = kernel();
        for (text, boots) in [
            (format!("funk boots 2\n{here}\n0000000000000007\n"), &[][..]),
            (format!("funk boots 1\n{here}\n0000000000000007\n00000000"), &[7]),
            (format!("funk boots 1\n{here}\n0000000000000000\nzzzzzzzzzzzzzzzz\n0000000000000009\n"), &[9]),
            ("funk boots 1\nanother machine's\n0000000000000007\n".into(), &[]),
            ("\0\0\0".into(), &[]),
        ] {
            let lock = file("torn");
            lock.write_all_at(text.as_bytes(), 0).unwrap();
            let expected: Vec<BootId> = boots.iter().map(|&n| boot(n)).collect();
            assert_eq!(read(&lock).unwrap(), expected, "{text:?}");
        }
    }
}
