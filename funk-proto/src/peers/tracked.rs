//! A value that knows whether it may have changed.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

/// Whatever is computed from `value` alone holds until [`Tracked::take_changed`] says otherwise.
#[derive(Debug)]
pub(super) struct Tracked<T> {
    value: T,
    is_changed: Cell<bool>,
}

impl<T> Tracked<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value, is_changed: Cell::new(true) }
    }

    /// Whether the value was borrowed mutably since the last call.
    pub(super) fn take_changed(&self) -> bool {
        self.is_changed.replace(false)
    }
}

impl<T> Deref for Tracked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Tracked<T> {
    fn deref_mut(&mut self) -> &mut T {
        *self.is_changed.get_mut() = true;
        &mut self.value
    }
}
