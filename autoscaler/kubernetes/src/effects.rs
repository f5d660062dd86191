//! Passes the effects of the engine to the tasks that carry them out.
//!
//! Bias: a replica that does not lead changes nothing. The leader makes the decisions whose effects this replica drops.

use std::sync::Arc;

use ebb_engine::{Effect, Order};
use tokio::sync::mpsc;

use crate::{events::Events, leadership::Leadership, owners::Owners};

/// Passes the effects of the engine to the tasks that carry them out.
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
            Effect::Follow { namespace, owner } => owners.follow(namespace, owner),
            Effect::Confirm(target) => owners.confirm(target),
            Effect::Scale(order) if leads => {
                // The receiver is gone only at shutdown.
                let _ = orders.send(order);
            }
            Effect::Say(notice) if leads => events.say(notice),
            Effect::Scale(_) | Effect::Say(_) => {}
        }
    }
}
