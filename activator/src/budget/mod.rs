//! The bytes that the doors of a process may keep for their clients: connections, heads, bodies that wait.
//!
//! All doors share one budget, and each namespace has an account in it. An account may hold at most twice the free bytes. So
//! one namespace alone gets two thirds, n that want everything get 2/(2n+1) each, and there is always something left for
//! one that begins to need it. (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet
//! switches", 1998.)
//!
//! What is charged is meant to be at least what it takes: [`connection()`], [`request()`], and what of bodies is kept. Bias: towards
//! refusing early, as a process beyond its memory limit is killed with all it has. Failure mode: a request beyond the budget
//! is answered with 503 and told so.

mod limit;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hyper::{Request, Version};

/// What a connection takes before it has asked for anything, in bytes: hyper's buffers, and the task. Measured with 10 000 of
/// them.
pub(crate) const CONNECTION: usize = 16 * 1024;

/// What a request takes beside its head: its place in the queue, and tables of its fields.
const REQUEST: usize = 2 * 1024;

/// As much of a buffer is in [`CONNECTION`] already: hyper's first one.
const FIRST_BUFFER: usize = 8 * 1024;

/// How often a head is there at a time: in a buffer that grows by doubling, and in what the allocator keeps of smaller
/// ones. Measured: 179 KB for a request with a head of 60 KB.
const COPIES: usize = 3;

/// What a head has for each field beside its name and value.
const FIELD: usize = 32;

/// The bytes of one process. A clone is another handle.
#[derive(Clone)]
pub struct Budget(Arc<All>);

struct All {
    most: usize,
    used: AtomicUsize,
    /// By namespace; those that are used.
    accounts: Mutex<HashMap<String, Weak<Own>>>,
}

/// Whose bytes are counted together, and in which budget. A clone is another handle.
#[derive(Clone)]
pub struct Account {
    budget: Budget,
    own: Arc<Own>,
}

struct Own {
    used: AtomicUsize,
    /// Whether it must leave something for others.
    shares: bool,
}

impl Budget {
    /// So many bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Budget(Arc::new(All {
            most,
            used: AtomicUsize::new(0),
            accounts: Mutex::default(),
        }))
    }

    /// Three fifths of the memory that this process may have: the limit of its cgroup, else the machine's memory. The rest is
    /// for the program itself, for connections to backends and answers under way, and for what the allocator wastes.
    #[must_use]
    pub fn of_this_process() -> Self {
        Budget::new(limit::memory() / 5 * 3)
    }

    /// The account of a namespace, the same for all that ask for it.
    #[must_use]
    pub fn account(&self, namespace: &str) -> Account {
        let mut accounts = self
            .0
            .accounts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = accounts.get(namespace).and_then(Weak::upgrade);
        let own = known.unwrap_or_else(|| {
            // Those of namespaces that are gone.
            accounts.retain(|_, own| own.strong_count() > 0);
            let own = Arc::new(Own {
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

    /// One account for all of it, where there is nobody to share with.
    #[must_use]
    pub fn whole(&self) -> Account {
        Account {
            budget: self.clone(),
            own: Arc::new(Own {
                used: AtomicUsize::new(0),
                shares: false,
            }),
        }
    }

    /// Bytes there may be.
    #[must_use]
    pub fn most(&self) -> usize {
        self.0.most
    }

    /// Bytes there are.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }
}

impl Account {
    /// Without a bound: for tests, and for whoever has one of their own.
    #[must_use]
    pub fn unbounded() -> Self {
        Budget::new(usize::MAX).whole()
    }

    /// The account of a namespace in the same budget.
    #[must_use]
    pub fn of(&self, namespace: &str) -> Self {
        self.budget.account(namespace)
    }

    /// The budget that it is a part of.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Takes so many bytes until the charge is dropped; `None` if there are not as many.
    pub(crate) fn take(&self, bytes: usize) -> Option<Charge> {
        self.add(bytes).then(|| Charge {
            account: self.clone(),
            bytes,
        })
    }

    /// Counts first and looks then, so that two at once cannot both have the last bytes.
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
            // What others have is free for nobody; of the rest it may have twice what it leaves.
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

/// Bytes that are taken, given back when dropped.
pub(crate) struct Charge {
    account: Account,
    bytes: usize,
}

impl Charge {
    /// Makes it so many bytes in all. `false` if there are not as many: then it stays as it is.
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

    /// Makes it so many bytes more or less, also beyond what there may be: for what is there already.
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

    /// Whether the account could have one byte more.
    pub(crate) fn has_room(&self) -> bool {
        self.account.take(1).is_some()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.give_back(self.bytes);
    }
}

/// What an HTTP/1 connection takes on which so many bytes of heads, or of a body, were there at a time.
pub(crate) const fn connection(bytes: usize) -> usize {
    CONNECTION + head(bytes.saturating_sub(FIRST_BUFFER))
}

/// What a head of so many bytes takes.
const fn head(bytes: usize) -> usize {
    bytes.saturating_mul(COPIES)
}

/// What a request takes while it waits. An HTTP/1 head is in the connection's buffer, and charged with that.
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

    /// Takes pieces of one byte until there are no more.
    fn all(account: &Account) -> Vec<Charge> {
        std::iter::from_fn(|| account.take(1)).collect()
    }

    #[test]
    fn t11_a_namespace_leaves_something_for_others() {
        let budget = Budget::new(900);
        let one = budget.account("one");
        let of_one = all(&one);
        assert_eq!(of_one.len(), 600);
        // The same account, whoever asks for it.
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
