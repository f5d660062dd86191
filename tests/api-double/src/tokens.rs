//! Service-account tokens of the API double: issued by TokenRequest, validated by TokenReview.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// An issued token.
#[derive(Debug, Clone)]
struct Token {
    namespace: String,
    account: String,
    audiences: Vec<String>,
    expires: Instant,
    /// The pod to which the token is bound: name of the pod, uid of the pod, name of its node.
    bound: Option<(String, String, String)>,
}

#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<String, Token>>);

/// The audience of the API server itself.
pub(super) const API: &str = "https://kubernetes.default.svc";

impl Tokens {
    /// Issues a token and returns the status of a TokenRequest. `bound`: name, uid and node of the pod to which the
    /// token is bound.
    pub(super) fn request(
        &self,
        namespace: &str,
        account: &str,
        spec: &Value,
        bound: Option<(String, String, String)>,
    ) -> Value {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = spec["audiences"].as_array().into_iter().flatten();
        let mut audiences: Vec<_> = named.filter_map(Value::as_str).map(str::to_owned).collect();
        if audiences.is_empty() {
            audiences.push(API.to_owned());
        }
        let seconds = spec["expirationSeconds"].as_u64().unwrap_or(3600);
        let text = format!("double.{}.{namespace}.{account}", tokens.len());
        let token = Token {
            namespace: namespace.to_owned(),
            account: account.to_owned(),
            audiences,
            expires: Instant::now() + Duration::from_secs(seconds),
            bound,
        };
        tokens.insert(text.clone(), token);
        json!({"token": text, "expirationTimestamp": super::store::now()})
    }

    /// Validates a token and returns the status of a TokenReview.
    pub(super) fn review(&self, spec: &Value) -> Value {
        let wanted: Vec<_> = match spec["audiences"].as_array() {
            Some(audiences) => audiences.iter().filter_map(Value::as_str).collect(),
            None => vec![API],
        };
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(token) = spec["token"].as_str().and_then(|text| tokens.get(text)) else {
            return json!({"user": {}, "error": "[invalid bearer token, token lookup failed]"});
        };
        let audiences: Vec<_> = wanted
            .into_iter()
            .filter(|audience| token.audiences.iter().any(|a| a == audience))
            .collect();
        if token.expires <= Instant::now() {
            return json!({"user": {}, "error": "[invalid bearer token, service account token has expired]"});
        }
        if audiences.is_empty() {
            return json!({"user": {}, "error": "[invalid bearer token, token audiences are invalid]"});
        }
        let mut extra = json!({});
        if let Some((pod, uid, node)) = &token.bound {
            extra["authentication.kubernetes.io/pod-name"] = json!([pod]);
            extra["authentication.kubernetes.io/pod-uid"] = json!([uid]);
            extra["authentication.kubernetes.io/node-name"] = json!([node]);
        }
        json!({
            "authenticated": true,
            "audiences": audiences,
            "user": {
                "username": format!("system:serviceaccount:{}:{}", token.namespace, token.account),
                "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{}", token.namespace), "system:authenticated"],
                "extra": extra,
            },
        })
    }

    /// Returns the user name of a token that is valid for the API server itself; `None` if the token is not valid.
    pub(super) fn opens_api(&self, text: &str) -> Option<String> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.get(text).filter(|token| {
            token.expires > Instant::now() && token.audiences.iter().any(|audience| audience == API)
        })?;
        Some(format!(
            "system:serviceaccount:{}:{}",
            token.namespace, token.account
        ))
    }
}
