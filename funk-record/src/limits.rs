//! The bounds of a recording, with unit and reason.

/// Bytes that a recorder keeps: an hour of five nodes at rest, minutes of busy ones.
pub const RECORDER_BYTES: usize = 32 << 20;
/// Bytes of one segment of the ring: what is forgotten at once, and what a dump copies on the driver's thread.
pub const SEGMENT_BYTES: usize = 256 << 10;
/// Inputs between two looks at all that is compared: a hash over a map of 10,000 shards takes a fraction of a millisecond.
pub const INPUTS_PER_CHECK: u32 = 1_000;
/// Bytes of a head that is read: a store holds a log and a snapshot.
pub const HEAD_BYTES_MAX: usize = 512 << 20;
