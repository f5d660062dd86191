//! Authenticates senders by their service-account tokens. The API server reviews a token, and its answer is remembered.
//!
//! A token is valid only if it was issued for [`ebb_contract::AUDIENCE`], and for an account that may report. A sender
//! with a token of the agents' account may report the pods of one node only: the node that the token names. Bias: while
//! the API server does not answer, a token that it accepted before stays valid until it expires, because without
//! current metrics no workload is scaled down. A token that the API server has never reviewed is not accepted.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::{Api, Client, api::PostParams, core::ObjectMeta};
use tokio::{
    sync::Semaphore,
    time::{self, Instant},
};

use super::remembered::Remembered;

/// Maximum number of TokenReviews at the same time. The limit applies to known tokens and to new tokens separately, so
/// known tokens do not wait for new ones. Otherwise, a flood of new tokens would delay the known ones until they time
/// out, as if the API server did not answer.
const AT_A_TIME: usize = 32;
/// Time limit of a TokenReview.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Longest token that is reviewed, in bytes. Service-account tokens have about 1 200 bytes.
const LONGEST: usize = 8 << 10;

/// Claims of a token in the answer of a TokenReview. The API server returns these claims by default since Kubernetes
/// 1.30 (beta of KEP-4193).
const NODE_CLAIM: &str = "authentication.kubernetes.io/node-name";
const POD_CLAIM: &str = "authentication.kubernetes.io/pod-name";

/// An authenticated sender. Its identity determines which pods or ports it may report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The agent of this node.
    Agent(Box<str>),
    /// The activator in this pod.
    Activator(Box<str>),
    /// Another sender of reports, identified by its service account. It may report any pod.
    Source(Box<str>),
}

/// Why a sender is not authenticated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// There is no bearer token, or it is longer than `LONGEST`.
    #[error("no bearer token")]
    NoToken,
    /// The API server does not accept the token.
    #[error("token refused: {0}")]
    BadToken(String),
    /// The token belongs to an account that may not report.
    #[error(
        "account {0} may not report; the agents' account may, and those named by --activator-account and --source-account"
    )]
    OtherAccount(String),
    /// The token does not name the node or the pod of the sender.
    #[error("the token is not bound to a pod on a node; mount a projected service-account token")]
    NotBound,
    /// The API server does not answer.
    #[error("the token cannot be checked now: {0}")]
    Unchecked(String),
}

/// Authenticates tokens with the API server.
#[derive(Debug)]
pub(crate) struct Identities {
    api: Api<TokenReview>,
    agent: String,
    activator: Option<String>,
    sources: Vec<String>,
    remembered: Remembered,
    for_known: Semaphore,
    for_new: Semaphore,
}

impl Identities {
    /// Creates an authenticator. Accounts have the form `NAMESPACE/NAME`.
    pub(crate) fn new(
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

    /// Returns the owner of a token.
    pub(crate) async fn of(&self, token: &str) -> Result<Identity, Refusal> {
        if token.is_empty() || token.len() > LONGEST {
            return Err(Refusal::NoToken);
        }
        if let Some(answer) = self.remembered.current(token, Instant::now()) {
            return answer;
        }
        let before = self.remembered.last_valid(token, Instant::now());
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
        // An API server that does not support audiences accepts a token of any audience, so the audience is checked
        // here too.
        let ours = status
            .audiences
            .iter()
            .flatten()
            .any(|audience| audience == ebb_contract::AUDIENCE);
        match (status.authenticated, status.user) {
            (Some(true), Some(user)) if ours => self.validate(user),
            _ => {
                let why = status.error.filter(|error| !error.is_empty());
                Err(Refusal::BadToken(why.unwrap_or_else(|| {
                    "not valid for this audience".to_owned()
                })))
            }
        }
    }

    fn validate(&self, user: UserInfo) -> Result<Identity, Refusal> {
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
