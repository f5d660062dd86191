//! Writes a report about one reading of all counted pods. The format is defined in [`ebb_contract`].

use std::fs;

use ebb_contract::{Pod, Report};
use hyper::body::Bytes;

use super::counting::PodReading;

/// The file with the kernel's boot id, which changes at each boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The identity of this agent in reports.
#[derive(Clone, Debug)]
pub(super) struct Reporter {
    node: String,
    boot: String,
}

impl Reporter {
    /// # Errors
    /// The kernel's boot id cannot be read.
    pub(super) fn new(node: String) -> std::io::Result<Self> {
        let boot = fs::read_to_string(BOOT_ID)?.trim().to_owned();
        Ok(Self { node, boot })
    }

    /// Returns the body of a report with the readings of these pods.
    ///
    /// # Errors
    /// None in practice: numbers and names can always be written as JSON.
    pub(super) fn body(
        &self,
        readings: impl Iterator<Item = PodReading>,
    ) -> Result<Bytes, serde_json::Error> {
        let report = Report {
            node: self.node.as_str().into(),
            boot: self.boot.as_str().into(),
            pods: readings.map(pod).collect(),
        };
        serde_json::to_vec(&report).map(Bytes::from)
    }
}

fn pod(reading: PodReading) -> Pod<'static> {
    let PodReading {
        spec,
        since,
        reading,
    } = reading;
    Pod {
        uid: spec.uid.into(),
        // The numbers overflow only after an uptime of 584 years (2^64 ns).
        since: since.as_nanos() as u64,
        at: reading.at.as_nanos() as u64,
        integral: reading.integral,
        in_flight: reading.in_flight,
        started: reading.started,
        completed: reading.completed,
        aborted: reading.aborted,
        excluded: reading.excluded,
        opaque: reading.opaque,
        connections: reading.connections,
        status: reading.status,
    }
}
