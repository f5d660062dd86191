//! The effects that the caller has not taken out yet.
//!
//! Bias: a replica that does not lead decides like the leader, and neither scales nor repeats the leader's Events.

use super::effect::{Effect, Notice};

/// Effects, and whether this replica leads.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    leading: bool,
    effects: Vec<Effect>,
}

impl Outbox {
    /// Sets whether this replica leads.
    pub(super) fn lead(&mut self, leading: bool) {
        self.leading = leading;
    }

    pub(super) fn is_leading(&self) -> bool {
        self.leading
    }

    /// Takes out the effects since the last call.
    pub(super) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Publishes an Event.
    pub(super) fn say(&mut self, notice: Notice) {
        self.effects.push(Effect::Say(notice));
    }
}
