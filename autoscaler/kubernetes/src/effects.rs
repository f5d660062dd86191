//! Passes the actions that the engine returns ([`Effect`]) to the tasks that carry them out.
//!
//! Bias: a replica that does not lead drops the actions that change the cluster. The leader makes the same decisions
//! and carries out their actions.

use std::sync::Arc;

use ebb_engine::{Effect, Order};
use tokio::sync::mpsc;

use crate::{events::Events, leadership::Leadership, owners::Owners};

/// Passes the actions that the engine returns to the tasks that carry them out.
pub(super) async fn run(
    mut effects: mpsc::UnboundedReceiver<Effect>,
    owners: Owners,
    events: Events,
    orders: mpsc::UnboundedSender<Order>,
    leadership: Arc<Leadership>,
) {
    while let Some(effect) = effects.recv().await {
        let leads = leadership.leads();
        match effect {
            Effect::ResolveOwner { namespace, owner } => owners.resolve(namespace, owner),
            Effect::Confirm(target) => owners.confirm(target),
            Effect::Scale(order) if leads => {
                // An error is ignored, because the receiver is gone only at shutdown.
                let _ = orders.send(order);
            }
            Effect::Say(notice) if leads => events.say(notice),
            Effect::Scale(_) | Effect::Say(_) => {}
        }
    }
}
