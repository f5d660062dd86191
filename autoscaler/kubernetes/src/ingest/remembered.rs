//! Remembers the API server's answers about tokens, as long as the answers may be used.
//!
//! When a pod is deleted, the API server refuses its token at once. A remembered answer keeps the token valid for
//! longer, so answers are remembered only for a short time. Bias: while the API server does not answer, an old answer
//! that a token is valid stays in use, because without current metrics no workload is scaled down. Memory is bounded:
//! answers about invalid tokens have a separate, small limit, so senders with invalid tokens cannot displace
//! authenticated senders.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::identity::{Identity, Refusal};

/// A valid token is reviewed again after this time. The token of a deleted pod must be refused within 60 s. From these
/// 60 s, 10 s, 3 s and some reserve are subtracted: the API server itself remembers tokens for 10 s
/// (`TokenSuccessCacheTTL` in
/// <https://github.com/kubernetes/kubernetes/blob/v1.32.0/pkg/kubeapiserver/options/authentication.go>), and an answer
/// may take 3 s. 5 000 agents cause 125 reviews per second (5 000 / 40 s).
const GOOD_FOR: Duration = Duration::from_secs(40);
/// An invalid token is refused without a new review for this time.
const BAD_FOR: Duration = Duration::from_secs(10);
/// While the API server does not answer, a token is accepted for this time after the review that found it valid. The
/// time is the lifetime of a token from the kubelet.
const GOOD_ANYWAY_FOR: Duration = Duration::from_secs(3600);
/// Maximum number of valid tokens that are remembered: two for each of 5 000 agents, and some reserve.
const REMEMBERED: usize = 12_000;
/// Maximum number of invalid tokens that are remembered. A misconfiguration causes a few; an attack causes many, which
/// must not fill the memory.
const BAD_REMEMBERED: usize = 500;

type Answer = Result<Identity, Refusal>;

/// For each remembered token: the API server's last answer about the token, and the time of this answer.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<HashMap<Box<str>, RememberedAnswer>>);

#[derive(Debug)]
struct RememberedAnswer {
    answer: Answer,
    at: Instant,
}

impl RememberedAnswer {
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
    /// Returns the remembered answer about a token; `None` if the token must be reviewed.
    pub(super) fn current(&self, token: &str, now: Instant) -> Option<Answer> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(token).filter(|known| known.is_current(now))?;
        Some(known.answer.clone())
    }

    /// Returns the owner of a token according to the last review, for use while the API server does not answer.
    pub(super) fn last_valid(&self, token: &str, now: Instant) -> Option<Identity> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(token).filter(|known| known.is_kept(now))?;
        known.answer.clone().ok()
    }

    /// Remembers an answer, unless too many answers of its kind (valid or invalid token) are remembered.
    pub(super) fn keep(&self, token: &str, answer: Answer, now: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The old answer about this token is replaced, so it does not count towards the limit.
        known.remove(token);
        let is_good = answer.is_ok();
        let most = if is_good { REMEMBERED } else { BAD_REMEMBERED };
        let alike = |known: &RememberedAnswer| known.answer.is_ok() == is_good;
        let full = |known: &HashMap<_, RememberedAnswer>| {
            known.values().filter(|it| alike(it)).count() >= most
        };
        if full(&known) {
            known.retain(|_, known| known.is_current(now));
        }
        if !full(&known) {
            known.insert(token.into(), RememberedAnswer { answer, at: now });
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
        // A token must be reviewed again after 42 s: 60 s, less the 10 s for which the API server itself remembers a
        // token, 3 s for its answer and 5 s of reserve.
        assert_eq!(after(60 - 13 - 5), None);
        let later = begin + Duration::from_secs(42);
        remembered.keep("token", refused(), later);
        assert_eq!(remembered.current("token", later), Some(refused()));
        assert_eq!(remembered.last_valid("token", later), None);
    }

    #[test]
    fn a_good_token_counts_on_while_nobody_can_be_asked() {
        let (remembered, begin) = (Remembered::default(), Instant::now());
        remembered.keep("token", agent(), begin);
        let after = |seconds| remembered.last_valid("token", begin + Duration::from_secs(seconds));
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
        // After `BAD_FOR`, the old invalid tokens are forgotten, so a new invalid token can be remembered.
        let later = begin + BAD_FOR;
        remembered.keep("another", refused(), later);
        assert_eq!(remembered.0.lock().unwrap().len(), 2);
    }
}
