//! What a shard's owner has in memory goes along with a planned move: from the
//! old owner to the new one, after the gate is closed and before it is released.
//!
//! | file | what |
//! |---|---|
//! | `send` | the old owner: ask the application, send piece by piece |
//! | `receive` | the new owner: put together, keep until the log says that the shard is its own |
//!
//! It is a convenience and no part of the decision who owns: a state that is
//! too large, too slow, or on its way to a node that dies is left out, and the
//! new owner starts without it, as it does after the death of an owner. What
//! arrives is whole, and is what the last owner had: nobody served in between.

pub mod receive;
pub mod send;
