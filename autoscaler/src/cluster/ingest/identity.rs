//! Who sends: a service-account token, asked of the API server and remembered.
//!
//! A token counts only if it was made out for [`ebb_contract::AUDIENCE`], and for an account that may report. A token of
//! the agents' account speaks for the node that the token says its pod runs on, and for no other. Bias: a token the
//! API server once vouched for is believed until it runs out while the API server does not answer, because figures
//! that are missing hold every workload still; one it never saw is not.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::{Api, Client, api::PostParams, core::ObjectMeta};
use tokio::{
    sync::Semaphore,
    time::{self, Instant},
};

use super::remembered::Remembered;

/// Tokens asked about at a time, of those that are known and of new ones each. They do not wait for each other: a
/// flood of new ones must not look like an API server that does not answer.
const AT_A_TIME: usize = 32;
/// An answer is waited for this long.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Longer than any token, in bytes: those of service accounts have some 1 200.
const LONGEST: usize = 8 << 10;

/// Claims of a token in the answer of a TokenReview: by default since Kubernetes 1.30 (beta of KEP-4193).
const NODE_CLAIM: &str = "authentication.kubernetes.io/node-name";
const POD_CLAIM: &str = "authentication.kubernetes.io/pod-name";

/// Who may report what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Identity {
    /// The agent of this node.
    Agent(Box<str>),
    /// The activator in this pod.
    Activator(Box<str>),
    /// Another source, which may report any pod; by its account.
    Source(Box<str>),
}

/// Why nobody is believed to be who he says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cluster) enum Refusal {
    /// No token.
    #[error("no bearer token")]
    NoToken,
    /// One the API server does not vouch for.
    #[error("token refused: {0}")]
    BadToken(String),
    /// Somebody else's.
    #[error(
        "account {0} may not report; the agents' account may, and those named by --activator-account and --source-account"
    )]
    OtherAccount(String),
    /// An agent's token that does not say where the agent runs.
    #[error("the token is not bound to a pod on a node; mount a projected service-account token")]
    NotBound,
    /// The API server does not answer.
    #[error("the token cannot be checked now: {0}")]
    Unchecked(String),
}

/// Asks the API server who it is.
#[derive(Debug)]
pub(in crate::cluster) struct Identities {
    api: Api<TokenReview>,
    agent: String,
    activator: Option<String>,
    sources: Vec<String>,
    remembered: Remembered,
    for_known: Semaphore,
    for_new: Semaphore,
}

impl Identities {
    /// Accounts are `NAMESPACE/NAME`.
    pub(in crate::cluster) fn new(
        client: Client,
        agent: &str,
        activator: Option<&str>,
        sources: &[String],
    ) -> Self {
        Self {
            api: Api::all(client),
            agent: user_name(agent),
            activator: activator.map(user_name),
            sources: sources.iter().map(|account| user_name(account)).collect(),
            remembered: Remembered::default(),
            for_known: Semaphore::new(AT_A_TIME),
            for_new: Semaphore::new(AT_A_TIME),
        }
    }

    /// Whose token it is.
    pub(in crate::cluster) async fn of(&self, token: &str) -> Result<Identity, Refusal> {
        if token.is_empty() || token.len() > LONGEST {
            return Err(Refusal::NoToken);
        }
        if let Some(answer) = self.remembered.current(token, Instant::now()) {
            return answer;
        }
        let before = self.remembered.anyway(token, Instant::now());
        let slots = match before {
            Some(_) => &self.for_known,
            None => &self.for_new,
        };
        let answer = self.ask(token, slots).await;
        if let Err(Refusal::Unchecked(_)) = answer {
            return before.map_or(answer, Ok);
        }
        self.remembered.keep(token, answer.clone(), Instant::now());
        answer
    }

    async fn ask(&self, token: &str, slots: &Semaphore) -> Result<Identity, Refusal> {
        let review = TokenReview {
            metadata: ObjectMeta::default(),
            spec: TokenReviewSpec {
                audiences: Some(vec![ebb_contract::AUDIENCE.to_owned()]),
                token: Some(token.to_owned()),
            },
            status: None,
        };
        let unchecked = |error: &dyn ToString| Refusal::Unchecked(error.to_string());
        let asked = async {
            let _slot = slots.acquire().await.map_err(|error| unchecked(&error))?;
            self.api
                .create(&PostParams::default(), &review)
                .await
                .map_err(|error| unchecked(&error))
        };
        let answer = time::timeout(TIMEOUT, asked)
            .await
            .map_err(|error| unchecked(&error))??;
        let status = answer.status.unwrap_or_default();
        // A server that does not know audiences vouches for any: then the token was not made out for us.
        let ours = status
            .audiences
            .iter()
            .flatten()
            .any(|audience| audience == ebb_contract::AUDIENCE);
        match (status.authenticated, status.user) {
            (Some(true), Some(user)) if ours => self.judge(user),
            _ => {
                let why = status.error.filter(|error| !error.is_empty());
                Err(Refusal::BadToken(why.unwrap_or_else(|| {
                    "not valid for this audience".to_owned()
                })))
            }
        }
    }

    fn judge(&self, user: UserInfo) -> Result<Identity, Refusal> {
        let name = user.username.unwrap_or_default();
        if self.sources.contains(&name) {
            return Ok(Identity::Source(name.into()));
        }
        let is_activator = self.activator.as_ref() == Some(&name);
        if name != self.agent && !is_activator {
            return Err(Refusal::OtherAccount(name));
        }
        let claims: BTreeMap<String, Vec<String>> = user.extra.unwrap_or_default();
        let claim = |key: &str| {
            let values = claims.get(key);
            values
                .and_then(|values| values.first())
                .map(|it| it.as_str().into())
        };
        let identity = match is_activator {
            true => claim(POD_CLAIM).map(Identity::Activator),
            false => claim(NODE_CLAIM).map(Identity::Agent),
        };
        identity.ok_or(Refusal::NotBound)
    }
}

fn user_name(account: &str) -> String {
    format!("system:serviceaccount:{}", account.replacen('/', ":", 1))
}
