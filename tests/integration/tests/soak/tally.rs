//! What the clients of one server have sent and received, by their own count.

use std::collections::BTreeMap;

/// The numbers since the start. The client is `client/tally.py`.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub(super) struct Tally {
    /// Requests that came to the server's socket, without `maybe`.
    pub(super) requests: u64,
    /// Ordinary requests without a response: they may have come to a closed socket, and may have been answered.
    pub(super) maybe: u64,
    /// Requests that may or may not have been answered, because the client gave up.
    pub(super) unsure: u64,
    /// Messages that may make their connection opaque.
    pub(super) opaque: u64,
    /// Probes with a response.
    pub(super) excluded: u64,
    /// Unusual messages.
    pub(super) unusual: u64,
    /// Unusual messages without a response.
    pub(super) unanswered: u64,
    /// Unusual messages in which Ebb may see a request more.
    pub(super) no_request: u64,
    /// Ordinary requests with a response.
    pub(super) kept: u64,
    /// Requests that the client aborted long before their response.
    pub(super) aborted: u64,
    /// Connections that the clients have opened.
    pub(super) connected: u64,
    /// Open connections that count as one request each.
    pub(super) held: u64,
    /// Open connections.
    pub(super) open: u64,
    /// The least time that requests were in flight, in request-microseconds.
    pub(super) least: u64,
    /// The most time that requests were in flight, in request-microseconds.
    pub(super) most: u64,
    /// Responses by class of status, 1xx to 5xx.
    pub(super) status: [u64; 5],
    /// Operations that failed.
    pub(super) errors: u64,
    /// What helps to find the cause of a mismatch: texts, and how often each applies.
    pub(super) notes: BTreeMap<String, u64>,
}

impl Tally {
    /// Returns the numbers since an earlier tally. The numbers of open connections are the current ones.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let new = |(text, times): (&String, &u64)| {
            let times = times - earlier.notes.get(text).copied().unwrap_or(0);
            (times > 0).then(|| (text.clone(), times))
        };
        Self {
            requests: self.requests - earlier.requests,
            maybe: self.maybe - earlier.maybe,
            unsure: self.unsure - earlier.unsure,
            opaque: self.opaque - earlier.opaque,
            excluded: self.excluded - earlier.excluded,
            unusual: self.unusual - earlier.unusual,
            unanswered: self.unanswered - earlier.unanswered,
            no_request: self.no_request - earlier.no_request,
            kept: self.kept - earlier.kept,
            aborted: self.aborted - earlier.aborted,
            connected: self.connected - earlier.connected,
            held: self.held,
            open: self.open,
            least: self.least - earlier.least,
            most: self.most - earlier.most,
            status: std::array::from_fn(|class| self.status[class] - earlier.status[class]),
            errors: self.errors - earlier.errors,
            notes: self.notes.iter().filter_map(new).collect(),
        }
    }
}
