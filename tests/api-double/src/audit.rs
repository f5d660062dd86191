//! The API double's audit log: which account sent which request, in the form of a real audit log.
//!
//! Only the latest requests of service accounts are recorded: tests check when a program sent which request.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use humantime::format_rfc3339_nanos;
use serde_json::{Value, json};

/// Maximum number of recorded requests. Each takes some 100 bytes.
const KEPT: usize = 200_000;

/// The audit log.
#[derive(Debug, Default)]
pub(super) struct Audit(Mutex<VecDeque<Entry>>);

#[derive(Debug)]
struct Entry {
    user: String,
    credential: String,
    method: String,
    uri: String,
    at: SystemTime,
    code: u16,
}

impl Audit {
    /// Records a request and its status code.
    pub(super) fn keep(
        &self,
        (user, credential): (&str, &str),
        method: &str,
        uri: &str,
        code: u16,
    ) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back(Entry {
            user: user.to_owned(),
            credential: credential.to_owned(),
            method: method.to_owned(),
            // The URI is cut to 300 characters, because a client may send a name of any length.
            uri: uri.chars().take(300).collect(),
            at: SystemTime::now(),
            code,
        });
    }

    /// Returns the recorded requests as `audit.k8s.io/v1` events, with only the fields that tests read.
    pub(super) fn entries(&self) -> Vec<Value> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .iter()
            .map(|entry| {
                let verb = match &*entry.method {
                    "GET" if entry.uri.contains("watch=") => "watch",
                    "GET" => "get",
                    "POST" => "create",
                    "PUT" => "update",
                    "PATCH" => "patch",
                    _ => "delete",
                };
                json!({
                    "kind": "Event", "stage": "ResponseComplete", "verb": verb, "requestURI": entry.uri,
                    "user": {
                        "username": entry.user,
                        "extra": {"authentication.kubernetes.io/credential-id": [entry.credential]},
                    },
                    "responseStatus": {"code": entry.code},
                    "requestReceivedTimestamp": format_rfc3339_nanos(entry.at).to_string(),
                })
            })
            .collect()
    }
}
