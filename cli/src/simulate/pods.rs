//! A model of the pods of a workload: a pod becomes ready a fixed time after it was requested, and ends at once when it
//! is no longer requested.
//!
//! Bias: no pod ever fails to start. A scale-down removes pods in the order of a ReplicaSet: pods that are still
//! starting first, and of these the newest first.

use std::{collections::VecDeque, time::Duration};

use ebb_autoscaler_core::Timestamp;

/// The pods of the workload.
#[derive(Clone, Debug)]
pub(super) struct Pods {
    start: Duration,
    ready: u32,
    /// Tuples (time, number of pods that become ready then), in order of time.
    starting: VecDeque<(Timestamp, u32)>,
}

impl Pods {
    /// Creates a model with `ready` pods; each new pod becomes ready `start` after its request.
    pub(super) fn new(start: Duration, ready: u32) -> Pods {
        Pods {
            start,
            ready,
            starting: VecDeque::new(),
        }
    }

    /// Returns the number of ready pods.
    pub(super) fn ready(&self) -> u32 {
        self.ready
    }

    /// Returns the number of all pods, including those that are starting.
    pub(super) fn all(&self) -> u32 {
        self.ready + self.starting()
    }

    fn starting(&self) -> u32 {
        self.starting.iter().map(|(_, pods)| pods).sum()
    }

    /// Marks the pods that have started by `now` as ready.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while let Some(&(at, pods)) = self.starting.front()
            && at <= now
        {
            self.ready += pods;
            self.starting.pop_front();
        }
    }

    /// Scales to a total of `wanted` pods, including those that are starting.
    pub(super) fn scale(&mut self, now: Timestamp, wanted: u32) {
        let all = self.all();
        if wanted > all {
            self.starting.push_back((now + self.start, wanted - all));
            return;
        }
        let mut surplus = all - wanted;
        while surplus > 0
            && let Some((_, newest)) = self.starting.back_mut()
        {
            let gone = surplus.min(*newest);
            *newest -= gone;
            surplus -= gone;
            if *newest == 0 {
                self.starting.pop_back();
            }
        }
        self.ready -= surplus;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn pods_are_ready_a_while_after_they_are_asked_for() {
        let mut pods = Pods::new(Duration::from_secs(5), 1);
        pods.scale(at(0), 3);
        pods.advance(at(4));
        assert_eq!((pods.ready(), pods.all()), (1, 3));
        pods.advance(at(5));
        assert_eq!((pods.ready(), pods.all()), (3, 3));
    }

    #[test]
    fn the_newest_go_first() {
        let mut pods = Pods::new(Duration::from_secs(5), 2);
        pods.scale(at(0), 4);
        pods.scale(at(2), 7);
        pods.scale(at(3), 3);
        pods.advance(at(5));
        assert_eq!((pods.ready(), pods.all()), (3, 3));
        pods.scale(at(6), 0);
        assert_eq!((pods.ready(), pods.all()), (0, 0));
    }
}
