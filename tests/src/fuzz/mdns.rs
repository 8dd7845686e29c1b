//! Multicast DNS: whatever is said to all on the link.

use funk_io::discovery::instances;

/// A message; what is found in it can be reached.
pub(super) fn message(data: &[u8]) {
    for instance in instances(data) {
        assert!(!instance.addresses.is_empty());
        assert!(!instance.cluster.contains('_') && !instance.node.contains('_'));
    }
}
