//! The structure of the workspace.

mod circles;
mod imports;
mod machines;
mod tidy;
