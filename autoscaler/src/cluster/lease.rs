//! Which replica acts: a Lease, kept as client-go's leader election keeps it.
//!
//! Bias: rather nobody than two. A holder that could not renew for two thirds of the lease steps down by itself, by its
//! own monotonic clock; another takes over when it has not seen the Lease change for its whole length, by its own
//! clock. So clocks that are wrong do not matter (the crates there are compare the times in the Lease with the wall
//! clock), and the gap between the two is longer than any write is waited for.

use std::time::Duration;

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

/// A candidate.
#[derive(Debug)]
pub(super) struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    duration: Duration,
    /// The Lease as last seen, and when it was first seen so.
    seen: Option<(Lease, Instant)>,
    /// When it was last renewed by us; `None` while we do not hold it.
    renewed: Option<Instant>,
}

impl Candidate {
    pub(super) fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
        duration: Duration,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            duration,
            seen: None,
            renewed: None,
        }
    }

    /// Stands for leadership until `end` is true, then gives it up. `leading` follows.
    pub(super) async fn run(
        mut self,
        leading: watch::Sender<bool>,
        mut end: watch::Receiver<bool>,
    ) {
        let retry = self.duration * 2 / 15;
        let deadline = self.duration * 2 / 3;
        let mut trouble = false;
        while !*end.borrow_and_update() {
            let asked = Instant::now();
            // Not waited for beyond the time to step down.
            let left = self.renewed.map_or(deadline, |renewed| {
                deadline.saturating_sub(renewed.elapsed())
            });
            match time::timeout(left, self.try_to_hold()).await {
                Ok(Ok(held)) => {
                    if std::mem::take(&mut trouble) {
                        info!(lease = %self.name, "the Lease can be reached again");
                    }
                    self.renewed = held.then_some(asked);
                }
                Ok(Err(error)) => {
                    if !std::mem::replace(&mut trouble, true) {
                        warn!(lease = %self.name, %error, "cannot reach the Lease; trying again");
                    }
                }
                Err(_) => debug!(lease = %self.name, "no answer about the Lease in time"),
            }
            if self
                .renewed
                .is_some_and(|renewed| renewed.elapsed() >= deadline)
            {
                self.renewed = None;
            }
            self.tell(&leading);
            // A holder steps down on time even when nothing answers.
            let step_down = self.renewed.map(|renewed| renewed + deadline);
            let next = asked + retry;
            let next = step_down
                .map_or(next, |step_down| next.min(step_down))
                .max(Instant::now() + retry / 4);
            tokio::select! {
                () = time::sleep_until(next) => {}
                _ = end.changed() => {}
            }
        }
        leading.send_replace(false);
        if self.renewed.is_some() {
            self.give_up().await;
        }
    }

    fn tell(&self, leading: &watch::Sender<bool>) {
        let lead = self.renewed.is_some();
        let changed = leading.send_if_modified(|leading| std::mem::replace(leading, lead) != lead);
        if changed {
            info!(lease = %self.name, "{}", if lead { "leading" } else { "not leading any more" });
        }
    }

    /// Takes or renews the Lease if it may be; whether we hold it.
    async fn try_to_hold(&mut self) -> Result<bool, Error> {
        let Some(found) = self.api.get_opt(&self.name).await? else {
            let new = self.held(None);
            return match self.api.create(&PostParams::default(), &new).await {
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
        if !holder.is_empty() && holder != self.identity && since.elapsed() < length {
            return Ok(false);
        }
        let mine = self.held(Some(lease));
        match self
            .api
            .replace(&self.name, &PostParams::default(), &mine)
            .await
        {
            Ok(lease) => {
                self.see(lease);
                Ok(true)
            }
            // Somebody else was faster.
            Err(Error::Api(status)) if status.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn see(&mut self, lease: Lease) {
        if self
            .seen
            .as_ref()
            .is_none_or(|(seen, _)| seen.spec != lease.spec)
        {
            self.seen = Some((lease, Instant::now()));
        } else if let Some((seen, _)) = &mut self.seen {
            seen.metadata = lease.metadata;
        }
    }

    /// The Lease, held by us from now on.
    fn held(&self, before: Option<&Lease>) -> Lease {
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

    /// Leaves the Lease to whoever comes next, so that nobody has to wait.
    async fn give_up(&mut self) {
        let Some((mut lease, _)) = self.seen.take() else {
            return;
        };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        match self
            .api
            .replace(&self.name, &PostParams::default(), &lease)
            .await
        {
            Ok(_) => info!(lease = %self.name, "Lease given up"),
            Err(error) => {
                warn!(lease = %self.name, %error, "cannot give up the Lease; it runs out")
            }
        }
    }
}
