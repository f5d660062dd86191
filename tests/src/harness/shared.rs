//! A fixture that many tests use and that is expensive to create. The first test that needs it creates it; a test that
//! fails discards it.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Holds at most one value, in a `static`.
#[derive(Debug)]
pub struct Shared<T>(Mutex<Option<Arc<T>>>);

/// A test's reference to the shared value.
#[derive(Debug)]
pub struct Held<T: 'static> {
    place: &'static Shared<T>,
    value: Arc<T>,
}

impl<T> Shared<T> {
    /// Creates an empty place.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Returns the current value, or creates one. Concurrent callers wait until it is created.
    pub fn get(&'static self, make: impl FnOnce() -> T) -> Held<T> {
        let value = Arc::clone(self.lock().get_or_insert_with(|| Arc::new(make())));
        Held { place: self, value }
    }

    /// Discards the value. It is dropped once no test uses it.
    pub fn end(&self) {
        let last = self.lock().take();
        drop(last);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        // A failed test may leave the value in any state: later callers get a new one.
        if thread::panicking() {
            self.place
                .lock()
                .take_if(|value| Arc::ptr_eq(value, &self.value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_fails_throws_it_away() {
        static PLACE: Shared<u32> = Shared::new();
        assert_eq!((*PLACE.get(|| 1), *PLACE.get(|| 2)), (1, 1));
        let held = PLACE.get(|| 3);
        let failed = thread::spawn(|| {
            let _held = PLACE.get(|| 4);
            panic!("on purpose");
        });
        assert!(failed.join().is_err());
        // A test that already holds the value keeps it.
        assert_eq!((*held, *PLACE.get(|| 5)), (1, 5));
        // A value that is already discarded does not discard its successor.
        let failed = thread::spawn(move || {
            let _held = held;
            panic!("on purpose");
        });
        assert!(failed.join().is_err());
        assert_eq!(*PLACE.get(|| 6), 5);
        PLACE.end();
        assert_eq!(*PLACE.get(|| 7), 7);
    }
}
