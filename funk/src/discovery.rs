//! How nodes find each other: multicast DNS, DNS, addresses, or a [`Source`] of your own.

pub use funk_io::discovery::{BadJoinAddress, Found, JoinAddress, Next, SERVICE_TYPE, Source, ask};
