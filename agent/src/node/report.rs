//! The report of one round: see [`ebb_contract`].

use std::fs;

use ebb_contract::{Pod, Report};
use hyper::body::Bytes;

use super::counting::Figures;

/// Where the kernel tells one boot from another.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Who reports.
#[derive(Clone, Debug)]
pub(super) struct Reporter {
    node: String,
    boot: String,
}

impl Reporter {
    /// # Errors
    /// If the kernel does not tell its boot id.
    pub(super) fn new(node: String) -> std::io::Result<Self> {
        let boot = fs::read_to_string(BOOT_ID)?.trim().to_owned();
        Ok(Self { node, boot })
    }

    /// The body of a report of these figures.
    ///
    /// # Errors
    /// None in practice: numbers and names can be written as JSON.
    pub(super) fn body(
        &self,
        figures: impl Iterator<Item = Figures>,
    ) -> Result<Bytes, serde_json::Error> {
        let report = Report {
            node: self.node.as_str().into(),
            boot: self.boot.as_str().into(),
            pods: figures.map(pod).collect(),
        };
        serde_json::to_vec(&report).map(Bytes::from)
    }
}

fn pod(figures: Figures) -> Pod<'static> {
    let Figures {
        wanted,
        since,
        reading,
    } = figures;
    Pod {
        uid: wanted.uid.into(),
        // 2^64 ns are 584 years of uptime.
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
