//! A cgroup that Ebb's counter counts, with the real kernel programs.

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
use ebb_fixtures::{
    TestCgroup, poll,
    server::{Sample, ServerSite},
};

use super::MissingFeature;

/// Time limit for everything that a check waits for. Emulated machines are about 20 times slower than real ones, and a
/// connection with lost packets may need several TCP timeouts until it closes.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// The counter of all checks. It is loaded only once, because loading takes seconds on an emulated machine.
static COUNTER: Mutex<Option<Counter>> = Mutex::new(None);

fn counter() -> MutexGuard<'static, Option<Counter>> {
    // A check that panicked has not damaged the counter, so a poisoned lock is ignored.
    COUNTER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Loads the programs. Returns the duration of the loading.
pub(super) fn load() -> Duration {
    let start = Instant::now();
    let loaded = Counter::load().unwrap_or_else(|error| panic!("{error}"));
    *counter() = Some(loaded);
    start.elapsed()
}

/// Unloads the programs.
pub(super) fn unload() {
    *counter() = None;
}

/// A counted cgroup. Dropping this value ends the counting and kills the processes in the cgroup.
#[derive(Debug)]
pub(super) struct CountedCgroup {
    pod: PodId,
    cgroup: TestCgroup,
}

/// All counts that have exactly one correct value.
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
    /// Returns the counts after `requests` requests that were all completed; nothing is in flight.
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

impl CountedCgroup {
    /// Creates a cgroup and counts it by the default rules.
    pub(super) fn new() -> Result<Self, MissingFeature> {
        Self::with(&Rules::default())
    }

    /// Creates a cgroup, and starts to count its requests by the rules `rules`.
    pub(super) fn with(rules: &Rules) -> Result<Self, MissingFeature> {
        Self::attach(TestCgroup::new(), rules)
    }

    /// Starts to count the requests of an existing cgroup.
    ///
    /// # Errors
    /// If the programs could not be loaded. This is not a failure of the calling check, because a separate check loads
    /// the programs and fails.
    pub(super) fn attach(cgroup: TestCgroup, rules: &Rules) -> Result<Self, MissingFeature> {
        let mut counter = counter();
        let Some(counter) = counter.as_mut() else {
            return Err(MissingFeature("the programs are not loaded".to_owned()));
        };
        let pod = counter
            .attach(cgroup.path(), rules)
            .unwrap_or_else(|error| panic!("{error}"));
        Ok(Self { pod, cgroup })
    }

    /// Returns the cgroup. Servers must be started in it to be counted.
    pub(super) fn cgroup(&self) -> &TestCgroup {
        &self.cgroup
    }

    /// Starts `ebb-sample`, the server that keeps its own count, in this cgroup.
    pub(super) fn sample(&self) -> Sample {
        self.sample_at(Ipv4Addr::LOCALHOST)
    }

    /// Starts `ebb-sample` in this cgroup, like `sample`, but at this address.
    pub(super) fn sample_at(&self, address: impl Into<IpAddr>) -> Sample {
        let sample = Sample::start(ServerSite::at(&self.cgroup, address));
        // `Sample::start` opens a connection to see whether the server listens. Waits until this connection is closed.
        self.at_rest();
        sample
    }

    /// Returns the counter's current values for this cgroup.
    pub(super) fn reading(&self) -> Reading {
        let counter = counter();
        let counter = counter.as_ref().expect("the programs are loaded");
        counter
            .read(self.pod)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the numbers of rare events, such as connections that became opaque, in all checks that have run.
    pub(super) fn events(&self) -> Events {
        let mut counter = counter();
        let counter = counter.as_mut().expect("the programs are loaded");
        counter.events().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the current counts.
    pub(super) fn now(&self) -> Count {
        Count::from(&self.reading())
    }

    /// Waits until `holds` is true for the counts, and returns these counts.
    #[track_caller]
    pub(super) fn until(&self, what: &str, holds: impl Fn(&Count) -> bool) -> Count {
        let last = Cell::new(Count::default());
        let seen = || {
            last.set(self.now());
            holds(&last.get()).then_some(last.get())
        };
        poll(SOON, seen).unwrap_or_else(|| panic!("{what}: not within {SOON:?}: {:?}", last.get()))
    }

    /// Waits until every connection is closed, and returns the counts.
    #[track_caller]
    pub(super) fn at_rest(&self) -> Count {
        self.until("every connection is closed", |count| count.connections == 0)
    }
}

impl Drop for CountedCgroup {
    fn drop(&mut self) {
        if let Some(counter) = counter().as_mut() {
            counter.detach(self.pod);
        }
    }
}
