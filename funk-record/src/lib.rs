//! The flight recorder of a node: what went into its core, in a bounded ring, and its replay.
//!
//! A [`funk_proto::Node`] is a function of its configuration, its seed, what its store held, and its inputs with
//! their times. A [`Recorder`] keeps just that. The same inputs give the same outputs, so a [`Replay`] shows on any
//! machine what a node did, and proves by the recorded hashes that it is the same.
//!
//! | file | what |
//! |---|---|
//! | `recorder` | the ring |
//! | `digest` | hashes of outputs, and the facts of a node that are compared |
//! | `fields` | numbers, addresses and texts as bytes |
//! | `head` | how a recording begins: version, configuration, seed, what the store held |
//! | `entry` | one record of a recording as bytes |
//! | `file` | a whole recording as bytes: writing, reading, finding what is damaged |
//! | `redact` | payloads replaced by bytes drawn from their hash |
//! | `replay` | runs a recording again |
//! | `limits` | the bounds |
//!
//! # Format
//!
//! All numbers are little endian; *varint* is unsigned LEB128. A file is
//!
//! | part | bytes |
//! |---|---|
//! | magic | `funk-rec` |
//! | version | u32, [`FORMAT_VERSION`] |
//! | length of the head | u32 |
//! | head | see `head` |
//! | crc | u32 over all before it |
//! | segments | each: `fseg`, u32 sequence, u64 number of its first record, u64 time of that in nanoseconds, u32 length of its records, u32 crc over these 28 bytes, records |
//! | end | `fend`, u64 number of records, u32 crc over these 12 bytes |
//!
//! A record is a varint length, a body, and the u32 crc of the record's u64 number and the body. A body is a kind
//! (u8), the nanoseconds since the record before it (varint, zigzag), and the kind's fields; see `entry`.

mod digest;
mod entry;
mod fields;
mod file;
mod head;
pub mod limits;
mod recorder;
mod redact;
mod replay;

pub use digest::Facts;
pub use entry::{Entry, Record};
pub use file::{Damage, Dump, FORMAT_VERSION, Payloads, Recording, Unreadable};
pub use head::Head;
pub use recorder::Recorder;
pub use replay::{Difference, Replay, Step, Unplayable};
