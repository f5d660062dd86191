//! Metrics of the reports that were sent.
//!
//! Label values are bounded: the outcomes, and the hosts of the URLs that the program was started with.

use ebb_contract::Receipt;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Host {
    host: String,
}

/// Counts reports to all replicas by outcome; clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct Sending {
    reports: Family<Outcome, Counter>,
    entries: Family<Outcome, Counter>,
    replicas: Family<Host, Gauge>,
}

impl Sending {
    /// Registers `reports_total`, `autoscaler_addresses`, and a counter of the entries of reports (pods or ports) by
    /// outcome. The name and the help of this counter are `entries` and `help`.
    pub fn registered(registry: &mut Registry, entries: &str, help: &str) -> Self {
        let sending = Self::default();
        // Each counter is exported from the start, so that Prometheus sees its first count as an increase.
        for outcome in ["accepted", "rejected", "lost"] {
            drop(sending.reports.get_or_create(&Outcome { outcome }));
        }
        registry.register(
            "reports",
            "Reports to replicas of the autoscaler, by outcome",
            sending.reports.clone(),
        );
        registry.register(entries, help, sending.entries.clone());
        registry.register(
            "autoscaler_addresses",
            "Number of autoscaler addresses to which reports are sent, by the host of the URL",
            sending.replicas.clone(),
        );
        sending
    }

    pub(crate) fn taken(&self, receipt: Receipt) {
        self.count("accepted");
        for (outcome, entries) in receipt.outcomes() {
            let counter = self.entries.get_or_create(&Outcome { outcome });
            counter.inc_by(entries);
        }
    }

    pub(crate) fn refused(&self) {
        self.count("rejected");
    }

    pub(crate) fn lost(&self) {
        self.count("lost");
    }

    pub(crate) fn replicas(&self, host: &str, number: usize) {
        let host = Host {
            host: host.to_owned(),
        };
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.replicas.get_or_create(&host).set(number);
    }

    fn count(&self, outcome: &'static str) {
        self.reports.get_or_create(&Outcome { outcome }).inc();
    }
}
