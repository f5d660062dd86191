//! Names and ids of objects, by which facts from different watches are matched.

use std::fmt;

/// Maximum length of the name of a Kubernetes object, in bytes: the limit of a DNS subdomain ([RFC 1123]).
///
/// [RFC 1123]: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
const LONGEST_NAME: usize = 253;
/// Maximum length of a kind, an API version or a uid, in bytes: the limit of a DNS label.
const LONGEST_LABEL: usize = 63;

/// The key of a scalable object. The API version is not part of the key, because all versions show the same object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetKey {
    /// API group; empty for the core group.
    pub group: Box<str>,
    /// Kind, e.g. `Deployment`.
    pub kind: Box<str>,
    /// Namespace.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
}

impl TargetKey {
    /// Creates the key of the object with this group, kind, namespace and name.
    pub fn new(group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for TargetKey {
    /// Writes `KIND NAMESPACE/NAME`, for example `Deployment shop/web`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// The controlling owner reference of a pod.
///
/// Anybody who can create a pod can write an owner reference. The API server checks neither whether the owner exists
/// nor whether the name is valid. So Ebb uses an owner only within the namespace of the pod, and only after the API
/// server has returned an object with this kind, name and uid in this namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// `apiVersion` of the reference.
    pub api_version: Box<str>,
    /// Kind.
    pub kind: Box<str>,
    /// Name of the owner. The owner is in the namespace of the pod.
    pub name: Box<str>,
    /// Uid.
    pub uid: Box<str>,
}

impl Owner {
    /// Creates the owner from the fields of an owner reference; `None` if a field is invalid. An invalid name could
    /// direct a request to another path of the API server, and could be as long as a whole object.
    #[must_use]
    pub fn named(api_version: &str, kind: &str, name: &str, uid: &str) -> Option<Self> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let is_possible = (group.is_empty() || is_subdomain(group))
            && is_label(version)
            && is_kind(kind)
            && is_subdomain(name)
            && (1..=LONGEST_LABEL).contains(&uid.len());
        is_possible.then(|| Self {
            api_version: api_version.into(),
            kind: kind.into(),
            name: name.into(),
            uid: uid.into(),
        })
    }

    /// Returns the API group of `api_version`; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
    }
}

fn is_subdomain(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len()) && text.split('.').all(is_part)
}

fn is_label(text: &str) -> bool {
    text.len() <= LONGEST_LABEL && is_part(text)
}

/// Returns whether the text has only lower-case letters, digits and dashes, with a letter or a digit at both ends.
fn is_part(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_are_plain = [bytes.first(), bytes.last()]
        .into_iter()
        .all(|end| end.is_some_and(|&byte| is_plain(byte)));
    ends_are_plain && bytes.iter().all(|&byte| is_plain(byte) || byte == b'-')
}

fn is_kind(text: &str) -> bool {
    (1..=LONGEST_LABEL).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Number of a workload in this process. A number is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkloadId(pub(super) u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t4_and_t8_owners_that_cannot_exist_are_nobody() {
        let named = |api_version: &str, kind: &str, name: &str| {
            Owner::named(api_version, kind, name, "u").is_some()
        };
        assert!(named("apps/v1", "ReplicaSet", "web-5d4f8c"));
        assert!(named("v1", "ReplicationController", "a.b-c.d"));
        assert!(named("argoproj.io/v1alpha1", "Rollout", "web"));
        for (api_version, kind, name) in [
            ("apps/v1", "ReplicaSet", ""),
            ("apps/v1", "ReplicaSet", "web/scale"),
            ("apps/v1", "ReplicaSet", "../../secrets/x"),
            ("apps/v1", "ReplicaSet", "Web"),
            ("apps/v1", "ReplicaSet", "web?watch=1"),
            ("apps/v1", "Replica/Set", "web"),
            ("apps/v1", "", "web"),
            ("apps/v1/x", "ReplicaSet", "web"),
            ("/v1", "..", "web"),
            ("ap ps/v1", "ReplicaSet", "web"),
            ("apps/", "ReplicaSet", "web"),
        ] {
            assert!(
                !named(api_version, kind, name),
                "{api_version} {kind} {name}"
            );
        }
        assert!(!named("apps/v1", "ReplicaSet", &"a".repeat(900_000)));
        assert!(Owner::named("apps/v1", "ReplicaSet", "a", &"u".repeat(64)).is_none());
        assert!(Owner::named("apps/v1", "ReplicaSet", "a", "").is_none());
    }
}
