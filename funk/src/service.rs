//! An application that is a value: it opens no socket, reads no clock and starts no thread, so that the simulator
//! runs it as well as real nodes do.

pub use funk_io::service::{AskError, ServiceHandle, start};
pub use funk_proto::service::{Right, Service, ServiceInput, ServiceOutput};
pub use funk_proto::{Outcome, RequestId};
