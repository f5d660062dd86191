//! What the API double refuses, as the real one does.

use serde_json::{Value, json};

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    NotFound(String),
    AlreadyExists(String),
    Conflict(String),
    Invalid(String),
    BadRequest(String),
    Unauthorized,
    Gone,
    NotAllowed,
}

impl Refusal {
    /// The HTTP status.
    pub(super) fn code(&self) -> u16 {
        match self {
            Self::NotFound(_) => 404,
            Self::AlreadyExists(_) | Self::Conflict(_) => 409,
            Self::Invalid(_) => 422,
            Self::BadRequest(_) => 400,
            Self::Unauthorized => 401,
            Self::Gone => 410,
            Self::NotAllowed => 405,
        }
    }

    /// The `Status` object that says so.
    pub(super) fn status(&self) -> Value {
        let (reason, message) = match self {
            Self::NotFound(name) => ("NotFound", format!("{name:?} not found")),
            Self::AlreadyExists(name) => ("AlreadyExists", format!("{name:?} already exists")),
            Self::Conflict(why) => ("Conflict", format!("Operation cannot be fulfilled: {why}")),
            Self::Invalid(why) => ("Invalid", why.clone()),
            Self::BadRequest(why) => ("BadRequest", why.clone()),
            Self::Unauthorized => ("Unauthorized", "Unauthorized".to_owned()),
            Self::Gone => ("Expired", "too old resource version".to_owned()),
            Self::NotAllowed => (
                "MethodNotAllowed",
                "the server does not allow this method".to_owned(),
            ),
        };
        json!({
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "reason": reason, "message": message, "code": self.code(),
        })
    }
}
