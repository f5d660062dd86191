//! Lists, in pages where a client asks for them.
//!
//! All pages of one list are of one moment, as the real one's are:
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks>. What is left of a
//! list is kept until it is asked for, of the last lists only; who comes later gets `410 Gone`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::kinds::Kind;
use super::refusal::Refusal;
use super::selector::Selector;
use super::store::Store;

/// Lists of which something is left, at most.
const KEPT: usize = 64;

/// What is left of lists.
#[derive(Debug, Default)]
pub(super) struct Pages(Mutex<Left>);

#[derive(Debug, Default)]
struct Left {
    lists: VecDeque<Rest>,
    number: u64,
}

#[derive(Debug)]
struct Rest {
    token: String,
    version: u64,
    items: Vec<Arc<Value>>,
}

/// How a list is asked for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// 0: all of it.
    pub(super) limit: usize,
    /// `continue`; empty: from the beginning.
    pub(super) token: String,
}

impl Pages {
    /// A list, or a page of it.
    pub(super) fn list(
        &self,
        store: &Store,
        kind: &Kind,
        selector: &Selector,
        asked: &Asked,
    ) -> Result<Value, Refusal> {
        let (version, mut items) = if asked.token.is_empty() {
            store.with(|inner| {
                let within = Some(&*selector.namespace).filter(|namespace| !namespace.is_empty());
                let items = inner.shared(&kind.resource(), within);
                let items = items.filter(|object| selector.selects(object));
                (inner.version(), items.cloned().collect::<Vec<_>>())
            })
        } else {
            let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let at = left.lists.iter().position(|rest| rest.token == asked.token);
            let rest = at.and_then(|at| left.lists.remove(at));
            let rest = rest.ok_or_else(|| {
                Refusal::Gone("The provided continue parameter is too old".to_owned())
            })?;
            (rest.version, rest.items)
        };
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if asked.limit > 0 && items.len() > asked.limit {
            let rest = items.split_off(asked.limit);
            metadata["remainingItemCount"] = rest.len().into();
            let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            left.number += 1;
            let token = format!("page-{}", left.number);
            metadata["continue"] = token.clone().into();
            if left.lists.len() == KEPT {
                left.lists.pop_front();
            }
            left.lists.push_back(Rest {
                token,
                version,
                items: rest,
            });
        }
        let items: Vec<Value> = items.iter().map(|item| Value::clone(item)).collect();
        Ok(json!({
            "apiVersion": kind.api_version(), "kind": format!("{}List", kind.kind),
            "metadata": metadata, "items": items,
        }))
    }
}
