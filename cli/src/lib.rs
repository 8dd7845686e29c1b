//! What funk's programs share on the command line.
//!
//! | file | what |
//! |---|---|
//! | `parse` | values of flags, and errors of one line |
//! | `advertise` | what others are told, where it is not what is bound |
//! | `logs` | logs on stderr |
//! | `stop` | the signals that end a program |
//! | `interfaces` | the addresses of this machine |
//! | `lines` | lines on stdout and stderr, whatever became of these |
//! | `memory` | how soon memory goes back to the machine |
//! | `tls` | flags of TLS, and their files |
//! | `keys` | flags of gossip encryption, and keyring files |
//! | `node` | the start and the end of a node |
//! | `systemd` | what systemd is told of a node |

mod advertise;
mod interfaces;
mod keys;
mod lines;
mod logs;
mod memory;
mod node;
mod parse;
mod stop;
pub mod systemd;
mod tls;

pub use advertise::{AdvertiseIp, advertised, name_of};
pub use interfaces::addresses;
pub use keys::{Given, KeyFlags, given_key};
pub use lines::{complain, flush, print, say, show};
pub use logs::{LogFlags, LogFormat};
pub use memory::give_memory_back_soon;
pub use node::{Failure, close, leave};
pub use parse::{boolean, duration, parse_or_exit, usage_line};
pub use stop::{Stop, stop_on_signals};
pub use tls::{TlsFlags, keep_up_to_date};
