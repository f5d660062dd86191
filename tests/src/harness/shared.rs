//! What many tests use and is dear to make: made for the first who asks, and thrown away by a test that fails.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A place for one, in a `static`.
#[derive(Debug)]
pub struct Shared<T>(Mutex<Option<Arc<T>>>);

/// The one there is, held by a test.
#[derive(Debug)]
pub struct Held<T: 'static> {
    place: &'static Shared<T>,
    value: Arc<T>,
}

impl<T> Shared<T> {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The one there is, or a new one; who else asks waits until it is made.
    pub fn get(&'static self, make: impl FnOnce() -> T) -> Held<T> {
        let value = Arc::clone(self.lock().get_or_insert_with(|| Arc::new(make())));
        Held { place: self, value }
    }

    /// Ends it, once no test holds it.
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
        // A test that failed may leave it in any state: those who ask from now on get a new one.
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
        // Who holds it keeps it.
        assert_eq!((*held, *PLACE.get(|| 5)), (1, 5));
        // What is thrown away already is not thrown away twice.
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
