//! The actions that the engine has requested and the caller has not taken yet.
//!
//! Bias: a replica that is not the leader makes the same decisions as the leader, but scales nothing and does not
//! repeat the Events of the leader.

use super::effect::{Effect, Notice};

/// The requested actions, and whether this replica is the leader.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    leading: bool,
    effects: Vec<Effect>,
}

impl Outbox {
    /// Sets whether this replica is the leader.
    pub(super) fn lead(&mut self, leading: bool) {
        self.leading = leading;
    }

    pub(super) fn is_leading(&self) -> bool {
        self.leading
    }

    /// Removes and returns the actions that the engine has requested since the last call.
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
