//! Scale-down candidates: the pods with the fewest requests in flight.
//!
//! The ReplicaSet controller removes pods that are not ready first, then those with the lowest
//! `controller.kubernetes.io/pod-deletion-cost` ([ranking][1]). So each candidate gets a cost below all costs that
//! users set, and no other pod is changed: a scale-down needs one write for each removed pod. Among pods with equal
//! numbers of requests, candidates are chosen first from the node with the most pods of the workload, then by age,
//! youngest first. The controller uses the same order.
//!
//! Failure mode: a candidate may receive requests between the choice and the removal. The pod terminates gracefully, as
//! in any scale-down, and completes these requests.
//!
//! [1]: https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/controller/controller_utils.go

use std::{cmp::Reverse, collections::HashMap};

use super::{effect::DeletionCost, pod::Pod};

/// Base deletion cost of a candidate, below all costs that users set. The number of requests in flight is added, so
/// that the busiest candidate is removed last.
const CHOSEN: i32 = -1_000_000;

/// Chooses the scale-down candidates: the pods that the ReplicaSet controller should remove first when it removes
/// `surplus` of `pods`. Returns the deletion costs that must change for this.
pub(super) fn costs<'a>(
    pods: impl Iterator<Item = &'a Pod> + Clone,
    surplus: u32,
) -> Vec<DeletionCost> {
    let present = pods.filter(|pod| !pod.facts.deleting);
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    let mut ready = Vec::new();
    // Number of pods that are not ready. The controller removes these pods first in any case.
    let mut others = 0;
    for pod in present.clone() {
        if pod.facts.ready {
            *on_node.entry(node(pod)).or_default() += 1;
            ready.push(pod);
        } else {
            others += 1;
        }
    }
    ready.sort_by_key(|pod| {
        (
            pod.in_flight(),
            Reverse(on_node.get(node(pod)).copied()),
            Reverse(pod.facts.created),
            &pod.facts.name,
        )
    });
    let go = usize::try_from(surplus)
        .unwrap_or(usize::MAX)
        .saturating_sub(others);
    let chosen = ready
        .iter()
        .take(go)
        .map(|pod| (*pod, Some(CHOSEN.saturating_add(small(pod.in_flight())))));
    // Ready pods that are no longer scale-down candidates, but still have a deletion cost that Ebb set: the cost is
    // removed.
    let spared = ready
        .iter()
        .skip(go)
        .filter(|pod| pod.facts.deletion_cost.is_some_and(is_ours))
        .map(|pod| (*pod, None));
    chosen
        .chain(spared)
        .filter(|(pod, cost)| pod.facts.deletion_cost != *cost)
        .map(|(pod, cost)| DeletionCost {
            pod: pod.facts.name.clone(),
            uid: pod.facts.uid.clone(),
            cost,
        })
        .collect()
}

fn node(pod: &Pod) -> &str {
    pod.facts.node.as_deref().unwrap_or_default()
}

fn small(in_flight: u64) -> i32 {
    i32::try_from(in_flight)
        .unwrap_or(i32::MAX)
        .min(-CHOSEN / 2)
}

/// Returns whether Ebb set this deletion cost.
fn is_ours(cost: i32) -> bool {
    (CHOSEN..=CHOSEN / 2).contains(&cost)
}

#[cfg(test)]
mod tests {
    use ebb_autoscaler_core::Timestamp;
    use ebb_contract::Pod as Report;

    use super::*;
    use crate::{pod::PodFacts, series::Series};

    fn pod(name: &str, node: &str, in_flight: u64, change: impl FnOnce(&mut PodFacts)) -> Pod {
        let now = Timestamp::from_secs(1_000);
        let mut facts = PodFacts {
            uid: name.into(),
            namespace: "shop".into(),
            name: name.into(),
            node: Some(node.into()),
            ready: true,
            deleting: false,
            opted_in: true,
            owner: None,
            deletion_cost: None,
            created: 0,
        };
        change(&mut facts);
        let mut pod = Pod::new(facts);
        let report = Report {
            at: 1,
            in_flight,
            ..Report::default()
        };
        pod.series = Some(Series::begin(0, &report, now, now, false).0);
        pod
    }

    fn names(pods: &[Pod], surplus: u32) -> Vec<(String, Option<i32>)> {
        costs(pods.iter(), surplus)
            .into_iter()
            .map(|cost| (cost.pod.into(), cost.cost))
            .collect()
    }

    #[test]
    fn the_idle_go_and_the_busy_stay() {
        let pods = [
            pod("a", "n1", 3, |_| ()),
            pod("b", "n2", 0, |_| ()),
            pod("c", "n3", 1, |_| ()),
        ];
        let expected = [
            ("b".to_owned(), Some(-1_000_000)),
            ("c".to_owned(), Some(-999_999)),
        ];
        assert_eq!(names(&pods, 2), expected);
    }

    #[test]
    fn among_equals_the_crowded_node_gives_then_the_youngest_goes() {
        let pods = [
            pod("a", "n1", 0, |facts| facts.created = 9),
            pod("b", "n2", 0, |facts| facts.created = 1),
            pod("c", "n2", 0, |facts| facts.created = 2),
        ];
        assert_eq!(names(&pods, 1), [("c".to_owned(), Some(-1_000_000))]);
    }

    #[test]
    fn those_not_ready_go_without_being_asked_and_those_going_do_not_count() {
        let pods = [
            pod("a", "n1", 0, |facts| facts.ready = false),
            pod("b", "n2", 0, |_| ()),
            pod("c", "n3", 0, |facts| {
                (facts.ready, facts.deleting) = (false, true)
            }),
        ];
        assert_eq!(names(&pods, 1), []);
        assert_eq!(names(&pods, 2), [("b".to_owned(), Some(-1_000_000))]);
    }

    #[test]
    fn only_what_differs_is_written_and_what_users_set_stays() {
        let pods = [
            pod("a", "n1", 5, |facts| facts.deletion_cost = Some(-999_998)),
            pod("b", "n2", 6, |facts| facts.deletion_cost = Some(100)),
            pod("c", "n3", 0, |facts| facts.deletion_cost = Some(-1_000_000)),
        ];
        assert_eq!(names(&pods, 1), [("a".to_owned(), None)]);
    }
}
