//! The structure of the workspace.

mod tidy;
