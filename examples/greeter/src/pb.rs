//! The generated code of `proto/greet.proto`; `cargo run -p funk-gen` writes it.

#![allow(missing_docs, unused_qualifications, clippy::all, reason = "generated")]

include!("pb/greet.rs");
