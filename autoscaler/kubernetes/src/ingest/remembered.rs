//! The API server's answers about tokens, for as long as they may be used.
//!
//! The API server knows at once that a pod was deleted, and its token with it; this memory keeps the token valid longer, so it
//! is short. Bias: while the API server does not answer, an old good answer stays valid, because no workload is scaled down
//! without current metrics. Memory is bounded: bad answers have a small limit of their own, so strangers cannot displace
//! authenticated senders.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::identity::{Identity, Refusal};

/// A good token is reviewed again after this time. The token of a deleted pod must be refused within a minute. The API server
/// may use 10 s of that minute, because it remembers tokens itself (`TokenSuccessCacheTTL` in
/// <https://github.com/kubernetes/kubernetes/blob/v1.32.0/pkg/kubeapiserver/options/authentication.go>), and an answer
/// may take 3 s. 5 000 agents cause 125 reviews a second.
const GOOD_FOR: Duration = Duration::from_secs(40);
/// A bad token is refused without a review for this time.
const BAD_FOR: Duration = Duration::from_secs(10);
/// While the API server does not answer, a good token stays valid for this time: the lifetime of a kubelet's tokens.
const GOOD_ANYWAY_FOR: Duration = Duration::from_secs(3600);
/// Good tokens that are remembered: two for each of 5 000 agents, and some more.
const REMEMBERED: usize = 12_000;
/// Bad tokens that are remembered: a handful is a misconfiguration; more is an attack, which must not fill the memory.
const BAD_REMEMBERED: usize = 500;

type Answer = Result<Identity, Refusal>;

/// The API server's answers by token.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<HashMap<Box<str>, Known>>);

#[derive(Debug)]
struct Known {
    answer: Answer,
    at: Instant,
}

impl Known {
    fn is_current(&self, now: Instant) -> bool {
        let life = if self.answer.is_ok() {
            GOOD_FOR
        } else {
            BAD_FOR
        };
        now.duration_since(self.at) < life
    }

    fn is_kept(&self, now: Instant) -> bool {
        let life = if self.answer.is_ok() {
            GOOD_ANYWAY_FOR
        } else {
            BAD_FOR
        };
        now.duration_since(self.at) < life
    }
}

impl Remembered {
    /// Returns the answer about a token, if it needs no new review yet.
    pub(super) fn current(&self, token: &str, now: Instant) -> Option<Answer> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(token).filter(|known| known.is_current(now))?;
        Some(known.answer.clone())
    }

    /// Returns the owner of a token by the last review, for use while the API server does not answer.
    pub(super) fn anyway(&self, token: &str, now: Instant) -> Option<Identity> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(token).filter(|known| known.is_kept(now))?;
        known.answer.clone().ok()
    }

    /// Remembers an answer, if there is room.
    pub(super) fn keep(&self, token: &str, answer: Answer, now: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The old answer about this token needs no room any more.
        known.remove(token);
        let is_good = answer.is_ok();
        let most = if is_good { REMEMBERED } else { BAD_REMEMBERED };
        let alike = |known: &Known| known.answer.is_ok() == is_good;
        let full =
            |known: &HashMap<_, Known>| known.values().filter(|it| alike(it)).count() >= most;
        if full(&known) {
            known.retain(|_, known| known.is_current(now));
        }
        if !full(&known) {
            known.insert(token.into(), Known { answer, at: now });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent() -> Answer {
        Ok(Identity::Agent("node-a".into()))
    }

    fn refused() -> Answer {
        Err(Refusal::BadToken("the pod is gone".to_owned()))
    }

    #[test]
    fn t12_the_api_server_is_asked_again_before_a_minute_is_over() {
        let (remembered, begin) = (Remembered::default(), Instant::now());
        remembered.keep("token", agent(), begin);
        let after = |seconds| remembered.current("token", begin + Duration::from_secs(seconds));
        assert_eq!(after(39), Some(agent()));
        // 10 s in the API server and 3 s for the answer are left of the minute.
        assert_eq!(after(60 - 13 - 5), None);
        let later = begin + Duration::from_secs(42);
        remembered.keep("token", refused(), later);
        assert_eq!(remembered.current("token", later), Some(refused()));
        assert_eq!(remembered.anyway("token", later), None);
    }

    #[test]
    fn a_good_token_counts_on_while_nobody_can_be_asked() {
        let (remembered, begin) = (Remembered::default(), Instant::now());
        remembered.keep("token", agent(), begin);
        let after = |seconds| remembered.anyway("token", begin + Duration::from_secs(seconds));
        assert_eq!(after(3_599), agent().ok());
        assert_eq!(after(3_600), None);
    }

    #[test]
    fn a_flood_of_bad_tokens_is_forgotten_and_drives_nobody_out() {
        let (remembered, begin) = (Remembered::default(), Instant::now());
        remembered.keep("good", agent(), begin);
        for number in 0..10_000 {
            remembered.keep(&format!("bad-{number}"), refused(), begin);
        }
        assert_eq!(remembered.0.lock().unwrap().len(), BAD_REMEMBERED + 1);
        assert_eq!(remembered.current("good", begin), Some(agent()));
        // After a while there is room again.
        let later = begin + BAD_FOR;
        remembered.keep("another", refused(), later);
        assert_eq!(remembered.0.lock().unwrap().len(), 2);
    }
}
