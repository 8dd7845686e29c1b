//! Flags of the programs, from the command line and from `FUNK_<FLAG>`.

mod advertise;
mod node;

pub use advertise::{AdvertiseFlags, Advertised};
pub use funk_cli::{LogFlags, LogFormat, addresses, boolean, duration, parse_or_exit, usage_line};
pub use node::{NodeFlags, RuntimeName, Transport};
