//! Writes a report about one reading of all counted pods. The format is defined in [`ebb_contract`].

use std::{borrow::Cow, fs};

use ebb_contract::{LONGEST, MAX_REJECTED, Pod, RejectedPod, Report};
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

    /// Returns the body of a report with the readings of these pods, and with the uids of rejected pods and the reason
    /// for each rejection.
    ///
    /// # Errors
    /// None in practice: numbers and names can always be written as JSON.
    pub(super) fn body<'a>(
        &self,
        readings: impl Iterator<Item = PodReading>,
        rejected: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Bytes, serde_json::Error> {
        let report = Report {
            node: self.node.as_str().into(),
            boot: self.boot.as_str().into(),
            pods: readings.map(pod).collect(),
            rejected: rejected
                .take(MAX_REJECTED)
                .map(|(uid, why)| RejectedPod {
                    uid: uid.into(),
                    why: shortened(why),
                })
                .collect(),
        };
        serde_json::to_vec(&report).map(Bytes::from)
    }
}

/// Returns a reason with at most [`LONGEST`] bytes. A longer text would make the whole report invalid.
fn shortened(why: &str) -> Cow<'_, str> {
    const ELLIPSIS: char = '…';
    match why.len() {
        0..=LONGEST => why.into(),
        _ => {
            let end = why.floor_char_boundary(LONGEST - ELLIPSIS.len_utf8());
            format!("{}{ELLIPSIS}", &why[..end]).into()
        }
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
        counted_at: Some(spec.counted_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasons_for_rejections_fit_into_a_report() {
        let reporter = Reporter {
            node: "a".to_owned(),
            boot: "b".to_owned(),
        };
        let long = "é".repeat(1_000);
        let rejected = vec![("u", &*long); MAX_REJECTED + 1];
        let rejected = rejected.into_iter().chain([("v", "short")]);
        let body = reporter.body(std::iter::empty(), rejected).unwrap();
        let report: Report<'_> = serde_json::from_slice(&body).unwrap();
        assert_eq!(report.rejected.len(), MAX_REJECTED);
        assert!(report.rejected[0].why.ends_with('…'));
        let body = reporter.body(std::iter::empty(), [("v", "short")].into_iter());
        let body = body.unwrap();
        let report: Report<'_> = serde_json::from_slice(&body).unwrap();
        assert_eq!(report.rejected[0].why, "short");
    }
}
