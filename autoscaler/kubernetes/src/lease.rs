//! Leader election with a Lease, which is read and written as by client-go's leader election.
//!
//! Bias: no leader is better than two leaders. A holder that could not renew the Lease for two thirds of the lease
//! duration steps down by itself. Another replica takes the Lease when it has not seen a change of the Lease for the
//! whole duration. Both replicas measure with their own clocks of the time since boot, so a wrong wall clock does no
//! harm. (The existing crates for Leases compare the times in the Lease with the wall clock.) [`Leadership`] records
//! until when this replica may write.
//!
//! Failure mode: if a request to the API server hangs, the holder sends a second request over another connection before
//! it must step down. If this request hangs too, no replica leads.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, Error, api::PostParams};
use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tracing::{debug, info, warn};

use super::{api::NoAnswer, leadership::Leadership};

/// Time limit for releasing the Lease. It is short, because the kubelet kills the process 30 s after SIGTERM, and a
/// Lease that is not released expires.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(3);

/// A candidate for leadership.
#[derive(Debug)]
pub(super) struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    duration: Duration,
    leadership: Arc<Leadership>,
    /// (the Lease as last read, time since boot at which its current content was first read).
    seen: Option<(Lease, Duration)>,
}

impl Candidate {
    pub(super) fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
        duration: Duration,
        leadership: Arc<Leadership>,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            duration,
            leadership,
            seen: None,
        }
    }

    /// Takes part in the leader election until `end` is true, then releases the Lease.
    pub(super) async fn run(mut self, mut end: watch::Receiver<bool>) {
        // For a duration of 15 s, this replica retries every 2 s and steps down after 10 s, as in client-go.
        let retry = self.duration * 2 / 15;
        let deadline = self.duration * 2 / 3;
        let mut trouble = false;
        while !*end.borrow_and_update() {
            let (asked, began) = (self.leadership.now(), Instant::now());
            // The request must not outlast the time at which this replica steps down.
            let left = self.leadership.left().unwrap_or(deadline);
            match time::timeout(left, self.try_to_hold()).await {
                Ok(Ok(holds)) => {
                    if std::mem::take(&mut trouble) {
                        info!(lease = %self.name, "the Lease can be reached again");
                    }
                    let changed = match holds {
                        true => self.leadership.renewed(asked, deadline, self.duration),
                        false => self.leadership.lost(),
                    };
                    self.log_change(changed);
                }
                Ok(Err(error)) => {
                    if !std::mem::replace(&mut trouble, true) {
                        warn!(lease = %self.name, %error, "cannot reach the Lease; trying again");
                    }
                }
                Err(_) => debug!(lease = %self.name, "Lease request not answered"),
            }
            let expired = self.leadership.expire();
            self.log_change(expired);
            // The loop also wakes up at the end of the leadership, so a holder steps down even if it gets no answer.
            let next = began + retry;
            let next = self
                .leadership
                .left()
                .map_or(next, |left| next.min(Instant::now() + left))
                .max(Instant::now() + retry / 4);
            tokio::select! {
                () = time::sleep_until(next) => {}
                _ = end.changed() => {}
            }
        }
        // After `lost`, no new write begins. The Lease is released only when the writes under way are over.
        let led = self.leadership.leads();
        self.leadership.lost();
        if led {
            self.leadership.drained().await;
            self.give_up().await;
        }
    }

    fn log_change(&self, changed: bool) {
        if changed {
            let leads = *self.leadership.changes().borrow();
            info!(lease = %self.name, "{}", if leads { "leading" } else { "not leading any more" });
        }
    }

    /// Takes or renews the Lease if possible, and returns whether this replica holds it.
    async fn try_to_hold(&mut self) -> Result<bool, Error> {
        // As in client-go, a holder renews the Lease without reading it first: with a slow API server, there is time
        // for one request only.
        if let (true, Some((lease, _))) = (self.leadership.leads(), &self.seen) {
            let mine = self.claimed(Some(lease));
            match self.replace(&mine).await {
                Ok(lease) => {
                    self.see(lease);
                    return Ok(true);
                }
                Err(Error::Api(status)) if status.is_conflict() || status.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        let Some(found) = self.within(self.api.get_opt(&self.name)).await? else {
            let new = self.claimed(None);
            let parameters = PostParams::default();
            return match self.within(self.api.create(&parameters, &new)).await {
                Ok(lease) => {
                    self.see(lease);
                    Ok(true)
                }
                Err(Error::Api(status)) if status.is_already_exists() => Ok(false),
                Err(error) => Err(error),
            };
        };
        self.see(found);
        let Some((lease, since)) = &self.seen else {
            return Ok(false);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let length = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        let length = length.map_or(self.duration, Duration::from_secs);
        if !holder.is_empty()
            && holder != self.identity
            && self.leadership.now().saturating_sub(*since) < length
        {
            return Ok(false);
        }
        let mine = self.claimed(Some(lease));
        match self.replace(&mine).await {
            Ok(lease) => {
                self.see(lease);
                Ok(true)
            }
            // Another replica has taken the Lease meanwhile.
            Err(Error::Api(status)) if status.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, Error> {
        let parameters = PostParams::default();
        self.within(self.api.replace(&self.name, &parameters, lease))
            .await
    }

    /// Waits for the answer to a request, for at most a third of the lease duration. This is half of the time after
    /// which a holder steps down, so after a request that hangs there is time for another one over a new connection.
    async fn within<T>(&self, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let limit = self.duration / 3;
        match time::timeout(limit, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Service(NoAnswer(limit).into())),
        }
    }

    fn see(&mut self, lease: Lease) {
        if self
            .seen
            .as_ref()
            .is_none_or(|(seen, _)| seen.spec != lease.spec)
        {
            self.seen = Some((lease, self.leadership.now()));
        } else if let Some((seen, _)) = &mut self.seen {
            seen.metadata = lease.metadata;
        }
    }

    /// Returns a Lease that is held by this replica and renewed now. `before` is the Lease as last read.
    fn claimed(&self, before: Option<&Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let spec = before
            .and_then(|lease| lease.spec.clone())
            .unwrap_or_default();
        let ours = spec.holder_identity.as_deref() == Some(&*self.identity);
        let transitions = spec.lease_transitions.unwrap_or(0);
        Lease {
            metadata: before.map_or_else(
                || ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                |lease| lease.metadata.clone(),
            ),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
                acquire_time: if ours {
                    spec.acquire_time.clone()
                } else {
                    Some(now.clone())
                },
                renew_time: Some(now),
                lease_transitions: Some(transitions + i32::from(before.is_some() && !ours)),
                ..spec
            }),
        }
    }

    /// Releases the Lease, so that the next leader does not have to wait until the Lease expires.
    async fn give_up(&mut self) {
        let Some((mut lease, _)) = self.seen.take() else {
            return;
        };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        let parameters = PostParams::default();
        let given_up = self.api.replace(&self.name, &parameters, &lease);
        match time::timeout(GIVE_UP_WITHIN, given_up).await {
            Ok(Ok(_)) => info!(lease = %self.name, "Lease released"),
            Ok(Err(error)) => {
                warn!(lease = %self.name, %error, "cannot release the Lease; another replica leads after it expires")
            }
            Err(_) => {
                warn!(lease = %self.name, "release of the Lease not answered within {GIVE_UP_WITHIN:?}; another replica may lead only after it expires")
            }
        }
    }
}

#[cfg(test)]
mod tests;
