//! TLS on the streams between nodes.
//!
//! Bytes go from the socket through here and back; nothing here waits. Whatever takes public keys takes milliseconds, and
//! runs on a [thread](worker) of its own: a stream is handed its [`Handshake`](handshake) piece by piece, in whole
//! records, and opened when it is over. Symmetric ciphers run in the driver.
//!
//! | file | what |
//! |---|---|
//! | `believed` | whoever was believed once, and whether it still is |
//! | `failure` | why there is no TLS on a stream |
//! | `handshake` | one step of a handshake, and what it ends in |
//! | `worker` | the thread for public keys |
//! | `shaking` | a stream while its handshake runs |
//! | `session` | a stream afterwards |
//! | `trust` | whom this node believes now, and what it says of the others |

pub(crate) mod believed;
pub(crate) mod failure;
pub(crate) mod handshake;
pub(crate) mod session;
pub(crate) mod shaking;
#[cfg(test)]
mod tests;
pub(crate) mod trust;
mod worker;
