//! Clients that write numbers, each once, and keep what was acknowledged.

use std::path::Path;
use std::time::Duration;

use super::SHARDS;
use crate::clients::{Clients, Shared};
use crate::lines::Asker;

/// A node that says nothing for so long is left for another.
const PATIENCE: Duration = Duration::from_millis(300);
/// Between two tries of one client.
const PACE: Duration = Duration::from_millis(2);

/// A write that was acknowledged: its shard and its number.
pub type Written = (u32, u64);

/// Starts so many clients of the nodes `names`, whose sockets are in `dir`.
pub fn start(dir: &Path, names: &[String], clients: usize) -> Clients<Written> {
    let askers = || names.iter().map(|name| Asker::new(&dir.join(format!("{name}.sock")), Some(PATIENCE))).collect();
    Clients::start((0..clients).map(|client| (client, askers())), write)
}

/// Writes one number after the other, at whichever node takes it.
fn write(shared: &Shared<Written>, (mut at, mut nodes): (usize, Vec<Asker>)) {
    while shared.goes_on() {
        let number = shared.fresh();
        let shard = u32::try_from(number % u64::from(SHARDS)).expect("less than the shards");
        while shared.goes_on() {
            at = (at + 1) % nodes.len();
            if nodes[at].ask(&format!("{shard} {number}")).is_ok_and(|answer| answer == "ok") {
                shared.acknowledge((shard, number));
                break;
            }
            std::thread::sleep(PACE);
        }
    }
}
