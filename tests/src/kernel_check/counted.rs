//! A cgroup with the real counter on it.

use std::{
    cell::Cell,
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ebb_agent::{
    Reading, Rules,
    counter::{Counter, Events, PodId},
};

use super::Lacks;
use crate::harness::{
    TestCgroup, poll,
    server::{Place, Sample},
};

/// Emulated machines are some 20 times slower than real ones, and a connection that was lost may take a
/// few of TCP's timeouts to close.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// Loaded once: on an emulated machine it takes seconds.
static COUNTER: Mutex<Option<Counter>> = Mutex::new(None);

fn counter() -> MutexGuard<'static, Option<Counter>> {
    // A check that has failed has left it whole.
    COUNTER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Loads the programs; how long it took.
pub(super) fn load() -> Duration {
    let start = Instant::now();
    let loaded = Counter::load().unwrap_or_else(|error| panic!("{error}"));
    *counter() = Some(loaded);
    start.elapsed()
}

/// Lets go of the programs.
pub(super) fn unload() {
    *counter() = None;
}

/// A cgroup that is counted. Dropping it ends the counting, and what runs in it.
#[derive(Debug)]
pub(super) struct Counted {
    pod: PodId,
    cgroup: TestCgroup,
}

/// What has been counted: everything that has one right value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) started: u64,
    pub(super) completed: u64,
    pub(super) aborted: u64,
    pub(super) excluded: u64,
    pub(super) in_flight: u64,
    pub(super) http2: u64,
    pub(super) upgraded: u64,
    pub(super) opaque: u64,
    pub(super) connections: u64,
}

impl Count {
    /// So many requests, all completed, and nothing left.
    pub(super) fn of(requests: u64) -> Self {
        Self {
            started: requests,
            completed: requests,
            ..Self::default()
        }
    }
}

impl From<&Reading> for Count {
    fn from(reading: &Reading) -> Self {
        Self {
            started: reading.started,
            completed: reading.completed,
            aborted: reading.aborted,
            excluded: reading.excluded,
            in_flight: reading.in_flight,
            http2: reading.http2,
            upgraded: reading.upgraded,
            opaque: reading.opaque,
            connections: reading.connections,
        }
    }
}

impl Counted {
    /// Counts a new cgroup by the rules that hold where none are given.
    pub(super) fn new() -> Result<Self, Lacks> {
        Self::with(&Rules::default())
    }

    /// Counts a new cgroup.
    pub(super) fn with(rules: &Rules) -> Result<Self, Lacks> {
        Self::attach(TestCgroup::new(), rules)
    }

    /// Counts a cgroup from now on.
    ///
    /// # Errors
    /// The programs could not be loaded, which is another check's failure.
    pub(super) fn attach(cgroup: TestCgroup, rules: &Rules) -> Result<Self, Lacks> {
        let mut counter = counter();
        let Some(counter) = counter.as_mut() else {
            return Err(Lacks("the programs are not loaded".to_owned()));
        };
        let pod = counter
            .attach(cgroup.path(), rules)
            .unwrap_or_else(|error| panic!("{error}"));
        Ok(Self { pod, cgroup })
    }

    /// Where servers are to be started.
    pub(super) fn cgroup(&self) -> &TestCgroup {
        &self.cgroup
    }

    /// The server with a count of its own, in this cgroup.
    pub(super) fn sample(&self) -> Sample {
        self.sample_at(Ipv4Addr::LOCALHOST)
    }

    /// The same, at another address.
    pub(super) fn sample_at(&self, address: impl Into<IpAddr>) -> Sample {
        let sample = Sample::start(Place::at(&self.cgroup, address));
        // Whether it listens has been tried out on a connection.
        self.at_rest();
        sample
    }

    /// The figures now.
    pub(super) fn reading(&self) -> Reading {
        let counter = counter();
        let counter = counter.as_ref().expect("the programs are loaded");
        counter
            .read(self.pod)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// What has rarely happened, in all checks so far.
    pub(super) fn events(&self) -> Events {
        let mut counter = counter();
        let counter = counter.as_mut().expect("the programs are loaded");
        counter.events().unwrap_or_else(|error| panic!("{error}"))
    }

    /// What is counted now.
    pub(super) fn now(&self) -> Count {
        Count::from(&self.reading())
    }

    /// Waits until a condition holds.
    #[track_caller]
    pub(super) fn until(&self, what: &str, holds: impl Fn(&Count) -> bool) -> Count {
        let last = Cell::new(Count::default());
        let seen = || {
            last.set(self.now());
            holds(&last.get()).then_some(last.get())
        };
        poll(SOON, seen).unwrap_or_else(|| panic!("{what}: not within {SOON:?}: {:?}", last.get()))
    }

    /// Waits until every connection is closed, and gives what was counted up to then.
    #[track_caller]
    pub(super) fn at_rest(&self) -> Count {
        self.until("every connection is closed", |count| count.connections == 0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(counter) = counter().as_mut() {
            counter.detach(self.pod);
        }
    }
}
