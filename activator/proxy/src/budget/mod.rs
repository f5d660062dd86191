//! The memory budget of a process for its clients: connections, request heads and queued bodies.
//!
//! All listeners share one budget, and each namespace has an account in it. An account may use at most twice the bytes
//! that are free in the budget. So a single namespace can use two thirds of the budget. If n namespaces use all the
//! memory that they may use, each has 2/(2n+1) of the budget. Some bytes always remain free for a namespace that begins
//! to need them. (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998.)
//!
//! Connections (see [`connection()`]), requests (see [`request()`]) and buffered parts of bodies are charged. The
//! charge is intended to be at least the memory in use. Bias: towards refusing early, because the kernel kills a
//! process beyond its memory limit, and all its requests are lost. Failure mode: a request beyond the budget is
//! answered with 503, and the text gives the reason.

mod limit;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hyper::{Request, Version};

/// Bytes that a connection uses before its first request: hyper's buffers and the task. Measured with 10 000
/// connections.
pub(crate) const CONNECTION: usize = 16 * 1024;

/// Bytes that a request uses in addition to its head: its entry in the queue, and the tables of its header fields.
const REQUEST: usize = 2 * 1024;

/// Bytes of hyper's first buffer, which [`CONNECTION`] already includes.
const FIRST_BUFFER: usize = 8 * 1024;

/// Memory that a head uses, as a multiple of its length. The head is in a buffer that grows by doubling, and the
/// allocator keeps the smaller buffers from which it was copied. Measured: 179 KB for a request with a head of 60 KB.
const COPIES: usize = 3;

/// Bytes that a header field uses in addition to its name and value.
const FIELD: usize = 32;

/// The memory budget of one process. Clones share the same budget.
#[derive(Clone)]
pub struct Budget(Arc<BudgetState>);

struct BudgetState {
    most: usize,
    used: AtomicUsize,
    /// The accounts in use, by namespace.
    accounts: Mutex<HashMap<String, Weak<AccountState>>>,
}

/// A memory account: counts the bytes that one namespace uses of a budget. Clones share the same account.
#[derive(Clone)]
pub struct Account {
    budget: Budget,
    own: Arc<AccountState>,
}

struct AccountState {
    used: AtomicUsize,
    /// True if the account may use at most twice the bytes that are free in the budget. False if it may use the whole
    /// budget.
    shares: bool,
}

impl Budget {
    /// Creates a memory budget of `most` bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Budget(Arc::new(BudgetState {
            most,
            used: AtomicUsize::new(0),
            accounts: Mutex::default(),
        }))
    }

    /// Creates a budget of three fifths of this process' memory limit. The memory limit is the smallest limit of its
    /// cgroups, or the machine's memory. The other two fifths are for the program itself, for connections to backends,
    /// for responses being sent, and for allocator overhead.
    #[must_use]
    pub fn of_this_process() -> Self {
        Budget::new(limit::memory() / 5 * 3)
    }

    /// Returns the account of a namespace. All callers with the same namespace get the same account.
    fn account(&self, namespace: &str) -> Account {
        let mut accounts = self
            .0
            .accounts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = accounts.get(namespace).and_then(Weak::upgrade);
        let own = known.unwrap_or_else(|| {
            // Removes the memory accounts of namespaces without a user, so that the map does not grow forever.
            accounts.retain(|_, own| own.strong_count() > 0);
            let own = Arc::new(AccountState {
                used: AtomicUsize::new(0),
                shares: true,
            });
            accounts.insert(namespace.to_owned(), Arc::downgrade(&own));
            own
        });
        Account {
            budget: self.clone(),
            own,
        }
    }

    /// Returns an account that may use the whole budget, for a process that does not distinguish namespaces.
    #[must_use]
    pub fn whole(&self) -> Account {
        Account {
            budget: self.clone(),
            own: Arc::new(AccountState {
                used: AtomicUsize::new(0),
                shares: false,
            }),
        }
    }

    /// Returns the size of the memory budget, in bytes.
    #[must_use]
    pub fn most(&self) -> usize {
        self.0.most
    }

    /// Returns how many bytes of the memory budget are in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }
}

impl Account {
    /// Creates an account without a limit: for tests, and for callers with their own limit.
    #[must_use]
    pub fn unbounded() -> Self {
        Budget::new(usize::MAX).whole()
    }

    /// Returns the account of a namespace in the same budget.
    #[must_use]
    pub fn of(&self, namespace: &str) -> Self {
        self.budget.account(namespace)
    }

    /// Charges `bytes` to the account until the returned charge is dropped. Returns `None` if the account may not use
    /// this many more bytes.
    pub(crate) fn take(&self, bytes: usize) -> Option<Charge> {
        self.add(bytes).then(|| Charge {
            account: self.clone(),
            bytes,
        })
    }

    /// Charges `bytes` to this account if the account's limit and the whole budget's limit allow it, and returns
    /// whether they do. The bytes are added first and checked afterwards, so that two concurrent callers cannot both
    /// take the last bytes.
    fn add(&self, bytes: usize) -> bool {
        let Account { budget, own } = self;
        let all = budget
            .0
            .used
            .fetch_add(bytes, Ordering::Relaxed)
            .saturating_add(bytes);
        let mine = own
            .used
            .fetch_add(bytes, Ordering::Relaxed)
            .saturating_add(bytes);
        let fits = budget.0.most.checked_sub(all).is_some_and(|free| {
            // The account of a namespace may use at most twice the bytes that are still free in the whole budget.
            !own.shares || mine <= free.saturating_mul(2)
        });
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.budget.0.used.fetch_sub(bytes, Ordering::Relaxed);
        self.own.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A number of bytes that are charged to a memory account until this value is dropped.
pub(crate) struct Charge {
    account: Account,
    bytes: usize,
}

impl Charge {
    /// Changes the charge to `bytes` in total. Returns `false` and changes nothing if there are too few free bytes.
    pub(crate) fn set(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes {
            if !self.account.add(bytes - self.bytes) {
                return false;
            }
        } else {
            self.account.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
        true
    }

    /// Changes the charge to `bytes` in total, even if this exceeds the memory budget. Used for bytes that are already
    /// in memory.
    pub(crate) fn force(&mut self, bytes: usize) {
        if bytes > self.bytes {
            let more = bytes - self.bytes;
            self.account
                .budget
                .0
                .used
                .fetch_add(more, Ordering::Relaxed);
            self.account.own.used.fetch_add(more, Ordering::Relaxed);
            self.bytes = bytes;
        } else {
            self.set(bytes);
        }
    }

    /// Returns whether at least one more byte could be charged to the same memory account.
    pub(crate) fn has_room(&self) -> bool {
        self.account.take(1).is_some()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.give_back(self.bytes);
    }
}

/// Returns the bytes charged for an HTTP/1 connection. `bytes` is the largest number of bytes of a head or of a body
/// that were buffered at one time.
pub(crate) const fn connection(bytes: usize) -> usize {
    CONNECTION + head(bytes.saturating_sub(FIRST_BUFFER))
}

/// Returns the number of bytes of memory that a head of `bytes` bytes uses.
const fn head(bytes: usize) -> usize {
    bytes.saturating_mul(COPIES)
}

/// Returns the bytes charged for a queued request. For HTTP/1, the head is in the connection's buffer and is charged
/// with the connection.
pub(crate) fn request<B>(request: &Request<B>) -> usize {
    if request.version() < Version::HTTP_2 {
        return REQUEST;
    }
    let fields: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD)
        .sum();
    let uri = request.uri();
    let target = uri.path().len() + uri.query().map_or(0, str::len);
    REQUEST + head(fields + target)
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.used(), self.most())
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.own.used.load(Ordering::Relaxed);
        write!(f, "{used} bytes of {:?}", self.budget)
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {:?}", self.bytes, self.account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Charges single bytes until the account refuses a further byte.
    fn all(account: &Account) -> Vec<Charge> {
        std::iter::from_fn(|| account.take(1)).collect()
    }

    #[test]
    fn t11_a_namespace_leaves_something_for_others() {
        let budget = Budget::new(900);
        let one = budget.account("one");
        let of_one = all(&one);
        assert_eq!(of_one.len(), 600);
        // A second call returns the same memory account for the namespace. The charges in `of_one` use all bytes that
        // this account may use.
        assert!(budget.account("one").take(1).is_none());
        let of_other = all(&budget.account("other"));
        assert_eq!(of_other.len(), 200);
        assert!(budget.account("third").take(50).is_some());
        drop(of_one);
        assert_eq!(all(&one).len(), (900 - 200) * 2 / 3);
    }

    #[test]
    fn t11_nothing_is_charged_for_what_is_refused() {
        let budget = Budget::new(100);
        let whole = budget.whole();
        assert!(whole.take(101).is_none());
        let mut charge = whole.take(60).unwrap();
        assert!(!charge.set(101));
        assert!(charge.set(100) && !charge.has_room());
        charge.force(130);
        assert_eq!(budget.used(), 130);
        assert!(charge.set(10) && charge.has_room());
        drop(charge);
        assert_eq!(budget.used(), 0);
        drop(Account::unbounded().take(1 << 40).unwrap());
    }

    #[test]
    fn accounts_that_nobody_uses_are_forgotten() {
        let budget = Budget::new(100);
        for number in 0..1000 {
            drop(budget.account(&number.to_string()));
        }
        assert!(budget.0.accounts.lock().unwrap().len() <= 1);
    }
}
