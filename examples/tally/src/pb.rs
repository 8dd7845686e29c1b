//! The generated code of `proto/tally.proto`; `cargo run -p funk-gen` writes it.

#![allow(missing_docs, unused_qualifications, clippy::all, reason = "generated")]

include!("pb/tally.rs");
