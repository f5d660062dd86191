//! Whether the facts from the API server are current.

use std::{collections::HashMap, sync::Arc};

use super::names::TargetKey;

/// Why facts are stale.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    /// Why all facts are stale; `None`: they are current.
    stale: Option<Arc<str>>,
    /// Why the facts about one kind are stale, by group and kind.
    stale_kinds: HashMap<(Box<str>, Box<str>), Arc<str>>,
}

impl Freshness {
    /// Sets why all facts are stale; `None`: they are current.
    pub(super) fn set(&mut self, stale: Option<String>) {
        self.stale = stale.map(Arc::from);
    }

    /// Sets why the facts about the objects of one kind are stale.
    pub(super) fn set_kind(&mut self, group: &str, kind: &str, stale: Option<String>) {
        let key = (group.into(), kind.into());
        match stale {
            None => self.stale_kinds.remove(&key),
            Some(why) => self.stale_kinds.insert(key, why.into()),
        };
    }

    /// Returns why the facts about a workload may be stale; `None`: they are current.
    pub(super) fn stale(&self, of: &TargetKey) -> Option<Arc<str>> {
        let of_kind = || match self.stale_kinds.is_empty() {
            true => None,
            false => self.stale_kinds.get(&(of.group.clone(), of.kind.clone())),
        };
        self.stale.as_ref().or_else(of_kind).cloned()
    }
}
