//! Stable records: whatever a crash leaves of a disk, a new process finds all
//! that the former one was told is stable, or refuses the disk; and it refuses
//! none that was not damaged.

use bytes::Bytes;
use funk_proto::wire::journal::Damaged;

use crate::checker::{Checker, Scene, Verdict};

/// What was stable is found, or its loss is.
#[derive(Debug, Default)]
pub struct StableRecords;

impl Checker for StableRecords {
    fn name(&self) -> &'static str {
        "stable records"
    }

    fn on_open(&mut self, scene: Scene<'_>, at: usize, found: Result<&[Bytes], &Damaged>) -> Verdict {
        let (name, disk) = (scene.name(at), &scene.hosts[at].disk);
        let told = disk.stable();
        match found {
            // A snapshot may have got through that nobody was told of: it has all that came before it.
            Ok([first, ..]) if told.first().is_some_and(|told| told != first) && replaces(first) => Ok(()),
            Ok(found) if found.starts_with(told) => Ok(()),
            Ok(found) => {
                let same = found.iter().zip(told).take_while(|(found, told)| found == told).count();
                Err(format!("{name} goes on with {same} of {} records that were stable", told.len()))
            }
            Err(_) if disk.is_rotten() => Ok(()),
            Err(damage) => Err(format!("{name} refuses a disk that no bit of was changed: {damage}")),
        }
    }
}

/// Whether a record begins a disk's content anew.
fn replaces(record: &Bytes) -> bool {
    use prost::Message as _;
    let record = funk_proto::wire::raft::RaftRecord::decode(record.clone());
    record.is_ok_and(|record| record.snapshot.is_some())
}
