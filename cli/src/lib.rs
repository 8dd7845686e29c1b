//! What funk's programs share on the command line.
//!
//! | file | what |
//! |---|---|
//! | `parse` | values of flags, and errors of one line |
//! | `logs` | logs on stderr |
//! | `stop` | the signals that end a program |
//! | `interfaces` | the addresses of this machine |
//! | `say` | lines on stdout |
//! | `node` | the start and the end of a node |

mod interfaces;
mod logs;
mod node;
mod parse;
mod say;
mod stop;

pub use interfaces::addresses;
pub use logs::{LogFlags, LogFormat};
pub use node::{Failure, close, leave};
pub use parse::{boolean, duration, parse_or_exit, usage_line};
pub use say::say;
pub use stop::Stop;
