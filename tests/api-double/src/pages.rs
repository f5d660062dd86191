//! Lists of objects, in pages if the client sets a limit.
//!
//! All pages of one list show the objects at the same moment, as with the real API server:
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks>. The
//! remaining items of a list are kept until the client requests them, and only for the 64 latest lists. A request for
//! the remaining items of an older list gets `410 Gone`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::kinds::Kind;
use super::refusal::Refusal;
use super::selector::Selector;
use super::store::Store;

/// Maximum number of lists that clients have not read to the end and whose remaining items are kept.
const KEPT: usize = 64;

/// The remaining items of lists that clients have not read to the end.
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

/// The paging parameters of a list request.
#[derive(Debug, Default)]
pub(super) struct PageParameters {
    /// Maximum number of items of a page; 0 means no limit.
    pub(super) limit: usize,
    /// The parameter `continue`; empty: from the beginning.
    pub(super) token: String,
}

impl Pages {
    /// Returns a whole list, or one page of a list.
    pub(super) fn list(
        &self,
        store: &Store,
        kind: &Kind,
        selector: &Selector,
        parameters: &PageParameters,
    ) -> Result<Value, Refusal> {
        let (version, mut items) = if parameters.token.is_empty() {
            store.with(|inner| {
                let within = Some(&*selector.namespace).filter(|namespace| !namespace.is_empty());
                let items = inner.shared(&kind.resource(), within);
                let items = items.filter(|object| selector.selects(object));
                (inner.version(), items.cloned().collect::<Vec<_>>())
            })
        } else {
            let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let at = left
                .lists
                .iter()
                .position(|rest| rest.token == parameters.token);
            let rest = at.and_then(|at| left.lists.remove(at));
            let rest = rest.ok_or_else(|| {
                Refusal::Gone("The provided continue parameter is too old".to_owned())
            })?;
            (rest.version, rest.items)
        };
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if parameters.limit > 0 && items.len() > parameters.limit {
            let rest = items.split_off(parameters.limit);
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
