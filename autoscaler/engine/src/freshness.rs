//! Whether the facts from the API server are current.

use std::{collections::HashMap, sync::Arc};

use super::names::TargetKey;

/// Reasons why facts from the API server are stale.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    /// Reason why all facts are stale; `None`: the facts are current.
    stale: Option<Arc<str>>,
    /// Reason why the facts about one kind are stale, by group and kind.
    stale_kinds: HashMap<(Box<str>, Box<str>), Arc<str>>,
}

impl Freshness {
    /// Sets the reason why all facts are stale; `None`: the facts are current.
    pub(super) fn set(&mut self, stale: Option<String>) {
        self.stale = stale.map(Arc::from);
    }

    /// Sets the reason why the facts about the objects of one kind are stale; `None`: the facts are current.
    pub(super) fn set_kind(&mut self, group: &str, kind: &str, stale: Option<String>) {
        let key = (group.into(), kind.into());
        match stale {
            None => self.stale_kinds.remove(&key),
            Some(why) => self.stale_kinds.insert(key, why.into()),
        };
    }

    /// Returns the reason why the facts about a workload are stale; `None`: the facts are current.
    pub(super) fn stale(&self, of: &TargetKey) -> Option<Arc<str>> {
        let of_kind = || match self.stale_kinds.is_empty() {
            true => None,
            false => self.stale_kinds.get(&(of.group.clone(), of.kind.clone())),
        };
        self.stale.as_ref().or_else(of_kind).cloned()
    }
}
