//! What things are called, so that facts from different watches meet.

use std::fmt;

/// An object that can be scaled. The version it is read in says nothing about which one it is.
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
    /// The object of that group, kind, namespace and name.
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
    /// As on kubectl's command line: `deployment/web -n shop` is `Deployment shop/web` here.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Who made a pod: its controlling owner reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// `apiVersion` of the reference.
    pub api_version: Box<str>,
    /// Kind.
    pub kind: Box<str>,
    /// Name; the namespace is the pod's.
    pub name: Box<str>,
    /// Uid.
    pub uid: Box<str>,
}

/// A workload's number in this process. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkloadId(pub(super) u64);
