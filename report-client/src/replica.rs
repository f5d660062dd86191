//! Sends reports to one replica of the autoscaler.

use std::time::Duration;

use ebb_contract::Receipt;
use hyper::{StatusCode, body::Bytes};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use crate::{
    connection::{Answer, Peer},
    sending::Sending,
};

/// Minimum time between reports to a replica that fails. Without this limit, the reports of a burst would be sent every
/// 50 ms.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// Longest wait that a replica can request. The limit is low, because a replica treats metrics as stale if it gets no
/// new report for 3.5 s.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// The sender of reports to one replica.
#[derive(Debug)]
pub(crate) struct Replica {
    peer: Peer,
    reports: watch::Receiver<Bytes>,
    sending: Sending,
    /// The last error that was logged; `None` if reports are accepted.
    wrong: Option<String>,
}

/// The outcome of a report.
enum SendOutcome {
    Taken(Receipt),
    Refused(Duration, String),
    Lost(String),
}

impl Replica {
    pub(crate) fn new(peer: Peer, reports: watch::Receiver<Bytes>, sending: Sending) -> Self {
        Self {
            peer,
            reports,
            sending,
            wrong: None,
        }
    }

    /// Sends reports until the source of the reports is closed.
    pub(crate) async fn run(mut self) {
        // The first report may already be in the channel. The channel is marked as changed, so that the loop sends this
        // report.
        self.reports.mark_changed();
        while self.reports.changed().await.is_ok() {
            let began = Instant::now();
            let body = self.reports.borrow_and_update().clone();
            if body.is_empty() {
                continue;
            }
            let rest = match self.report(body).await {
                SendOutcome::Taken(receipt) => {
                    self.sending.taken(receipt);
                    if self.wrong.take().is_some() {
                        info!(address = %self.peer.address, "reports are accepted again");
                    }
                    continue;
                }
                SendOutcome::Refused(rest, why) => {
                    self.sending.refused();
                    self.say(why);
                    rest
                }
                SendOutcome::Lost(why) => {
                    self.sending.lost();
                    self.say(why);
                    TRY_EVERY
                }
            };
            sleep_until(began + rest).await;
        }
    }

    async fn report(&mut self, body: Bytes) -> SendOutcome {
        let answer = match self.peer.post(body).await {
            Ok(answer) => answer,
            Err(error) => return SendOutcome::Lost(error.to_string()),
        };
        match answer.status {
            StatusCode::OK => match serde_json::from_slice(&answer.body) {
                Ok(receipt) => SendOutcome::Taken(receipt),
                Err(error) => SendOutcome::Lost(format!("the response is not a receipt: {error}")),
            },
            status => {
                // A 403 may also be caused by the token, for example if the token is not bound to a node. So the token
                // file is read again.
                if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status) {
                    self.peer.credentials.doubt();
                }
                let (rest, why) = refusal(&answer);
                SendOutcome::Refused(rest, why)
            }
        }
    }

    /// Logs an error, unless the last logged error is the same.
    fn say(&mut self, why: String) {
        if self.wrong.as_ref() != Some(&why) {
            warn!(address = %self.peer.address, why, "reports do not arrive");
            self.wrong = Some(why);
        }
    }
}

fn refusal(answer: &Answer) -> (Duration, String) {
    let text = String::from_utf8_lossy(&answer.body);
    let line = text.lines().next().unwrap_or_default();
    let rest = answer.retry_after.unwrap_or(TRY_EVERY);
    (
        rest.clamp(TRY_EVERY, LONGEST_REST),
        format!("answered {}: {line}", answer.status),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_left_alone_as_long_as_it_asks_within_bounds() {
        for (asked, rest) in [(None, 1), (Some(0), 1), (Some(3), 3), (Some(3600), 10)] {
            let answer = Answer {
                status: StatusCode::SERVICE_UNAVAILABLE,
                retry_after: asked.map(Duration::from_secs),
                body: Bytes::from("the token cannot be checked\nnow\n"),
            };
            let why = "answered 503 Service Unavailable: the token cannot be checked";
            let expected = (Duration::from_secs(rest), why.to_owned());
            assert_eq!(refusal(&answer), expected, "{asked:?}");
        }
    }
}
