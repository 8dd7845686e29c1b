//! Clients that propose numbers, each once, and keep what was acknowledged.

use std::path::PathBuf;
use std::time::Duration;

use crate::clients::{Clients, Shared};
use crate::lines::Asker;

/// Between two tries of a client whose node did not answer.
const PACE: Duration = Duration::from_millis(2);
/// A question that is not answered for so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Starts as many clients for each of these nodes.
pub fn start(sockets: &[PathBuf], each: usize) -> Clients<u64> {
    let all = sockets.iter().flat_map(|socket| (0..each).map(|_| Asker::new(socket, Some(PATIENCE))));
    Clients::start(all, write)
}

/// Proposes one number after the other at one node, whether it runs or not.
fn write(shared: &Shared<u64>, mut node: Asker) {
    while shared.goes_on() {
        let number = shared.fresh();
        if node.ask(&format!("propose {number}")).is_ok_and(|answer| answer == "ok") {
            shared.acknowledge(number);
        } else {
            // What became of the number is not known; it is not proposed again.
            std::thread::sleep(PACE);
        }
    }
}
