//! The API double's error responses, the same as the real API server's.

use serde_json::{Value, json};

/// The reason for an error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The object does not exist: group, plural and name of the object.
    NotFound(String, String, String),
    /// The URL path does not exist. The response is plain text, as from the real API server's outermost handler:
    /// <https://github.com/kubernetes/kubernetes/blob/v1.34.0/staging/src/k8s.io/apiserver/pkg/util/notfoundhandler/not_found_handler.go>
    NoSuchPath,
    /// A built-in API group does not have this resource.
    NoSuchResource,
    AlreadyExists(String),
    Conflict(String),
    Invalid(String),
    BadRequest(String),
    /// Admission refuses the request, for example because of a quota, or because the namespace is being deleted:
    /// message, and reason of the cause (empty: no cause is given).
    Forbidden(String, &'static str),
    Unauthorized,
    /// The resource version of a watch, or the `continue` token of a list, is too old.
    Gone(String),
    NotAllowed,
    TooLarge(String),
    Internal(String),
    /// A test configured the double to refuse requests to this path, with this HTTP status.
    Broken(u16),
}

impl Refusal {
    /// Returns the error for an object that the store does not contain, by the object's key.
    pub(super) fn none_at((resource, _, name): &super::store::Key) -> Self {
        let (group, plural) = resource.split_once('/').unwrap_or(("", resource));
        Self::NotFound(group.to_owned(), plural.to_owned(), name.clone())
    }

    /// Returns the HTTP status.
    pub(super) fn code(&self) -> u16 {
        match self {
            Self::NotFound(..) | Self::NoSuchPath | Self::NoSuchResource => 404,
            Self::AlreadyExists(_) | Self::Conflict(_) => 409,
            Self::Invalid(_) => 422,
            Self::BadRequest(_) => 400,
            Self::Forbidden(..) => 403,
            Self::Unauthorized => 401,
            Self::Gone(_) => 410,
            Self::NotAllowed => 405,
            Self::TooLarge(_) => 413,
            Self::Internal(_) => 500,
            Self::Broken(code) => *code,
        }
    }

    /// Returns the `Status` object of the response.
    pub(super) fn status(&self) -> Value {
        let mut details = json!({});
        let (reason, message) = match self {
            Self::NotFound(group, plural, name) => {
                details = json!({"name": name, "group": group, "kind": plural});
                let resource = match &**group {
                    "" => plural.clone(),
                    group => format!("{plural}.{group}"),
                };
                ("NotFound", format!("{resource} {name:?} not found"))
            }
            Self::NoSuchPath | Self::NoSuchResource => (
                "NotFound",
                "the server could not find the requested resource".to_owned(),
            ),
            Self::AlreadyExists(name) => ("AlreadyExists", format!("{name:?} already exists")),
            Self::Conflict(why) => ("Conflict", format!("Operation cannot be fulfilled: {why}")),
            Self::Invalid(why) => ("Invalid", why.clone()),
            Self::BadRequest(why) => ("BadRequest", why.clone()),
            Self::Forbidden(why, cause) => {
                if !cause.is_empty() {
                    details = json!({"causes": [{"reason": cause, "message": why}]});
                }
                ("Forbidden", why.clone())
            }
            Self::Unauthorized => ("Unauthorized", "Unauthorized".to_owned()),
            Self::Gone(why) => ("Expired", why.clone()),
            Self::NotAllowed => (
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource".to_owned(),
            ),
            Self::TooLarge(why) => ("RequestEntityTooLarge", why.clone()),
            Self::Broken(_) => ("ServiceUnavailable", "not now".to_owned()),
            Self::Internal(why) => ("InternalError", format!("Internal error occurred: {why}")),
        };
        json!({
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "reason": reason, "message": message, "details": details, "code": self.code(),
        })
    }
}
