//! The pool against servers that misbehave and callers that do.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::*;

#[test]
fn the_address_unused_for_longest_makes_way() {
    let mut slots = Slots { by_address: HashMap::new(), uses: 0, max: 3 };
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    for port in [1, 2, 3, 1, 4] {
        slots.get(at(port));
    }
    let mut left: Vec<_> = slots.by_address.keys().map(SocketAddr::port).collect();
    left.sort_unstable();
    assert_eq!(left, [1, 3, 4]);
}
