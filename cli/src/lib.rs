//! What funk's programs share on the command line.
//!
//! | file | what |
//! |---|---|
//! | `parse` | values of flags, and errors of one line |
//! | `logs` | logs on stderr |
//! | `stop` | the signals that end a program |
//! | `interfaces` | the addresses of this machine |

mod interfaces;
mod logs;
mod parse;
mod stop;

pub use interfaces::addresses;
pub use logs::{LogFlags, LogFormat};
pub use parse::{duration, parse_or_exit, usage_line};
pub use stop::Stop;
