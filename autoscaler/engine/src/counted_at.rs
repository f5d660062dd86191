//! The hops at which the pods of a workload are counted, for the page.
//!
//! The pods of a workload usually have the same hop. During a rollout they can have two.

use std::sync::Arc;

use ebb_contract::{CountedAt, limits::MAX_PORTS};

use super::{pod::PodId, pods::Pods};

/// Maximum number of choices of one workload that are shared and shown. More choices than two are a mistake, and a
/// person reads few.
const SHOWN: usize = 8;

/// Maximum number of pods that are shown with the reason why they are not counted.
const NAMED: usize = 10;

/// The different choices of the pods of a workload, which the pods share.
#[derive(Debug, Default)]
pub(super) struct Choices(Vec<Arc<CountedAt<'static>>>);

impl Choices {
    /// Returns the shared copy of a choice. `before` is the last choice of the same pod.
    pub(super) fn shared(
        &mut self,
        choice: Option<&CountedAt<'_>>,
        before: Option<Arc<CountedAt<'static>>>,
    ) -> Option<Arc<CountedAt<'static>>> {
        let mut choice = choice?;
        let few;
        if choice.ports.len() > MAX_PORTS {
            // The report of another source can have any number of ports.
            few = CountedAt {
                ports: choice.ports[..MAX_PORTS].to_vec(),
                ..choice.clone()
            };
            choice = &few;
        }
        if before.as_deref() == Some(choice) {
            return before;
        }
        if let Some(known) = self.0.iter().find(|known| ***known == *choice) {
            return Some(Arc::clone(known));
        }
        let new = Arc::new(choice.to_static());
        // A choice that no pod has any more is forgotten.
        self.0.retain(|known| Arc::strong_count(known) > 1);
        if self.0.len() < SHOWN {
            self.0.push(Arc::clone(&new));
        }
        Some(new)
    }
}

/// Where the pods of a workload are counted, and which of them are not.
#[derive(Clone, Debug, Default)]
pub(super) struct CountedPods {
    /// The choices, and the number of pods with each; the choice of most pods first.
    pub(super) at: Vec<(Arc<CountedAt<'static>>, u32)>,
    /// Names of pods that are not counted, and the reason for each: at most [`NAMED`] of them.
    pub(super) not: Vec<(Box<str>, Box<str>)>,
}

impl CountedPods {
    /// Returns where these pods are counted.
    pub(super) fn of<'a>(ids: impl IntoIterator<Item = &'a PodId>, pods: &Pods) -> Self {
        let mut counted = Self::default();
        for pod in ids.into_iter().filter_map(|&id| pods.get(id)) {
            if let Some(why) = &pod.not_counted {
                if counted.not.len() < NAMED {
                    counted.not.push((pod.facts.name.clone(), why.clone()));
                }
            } else if let Some(choice) = &pod.counted_at {
                let mut known = counted.at.iter();
                match known.position(|(known, _)| Arc::ptr_eq(known, choice) || known == choice) {
                    Some(index) => counted.at[index].1 += 1,
                    None if counted.at.len() < SHOWN => counted.at.push((Arc::clone(choice), 1)),
                    None => {}
                }
            }
        }
        counted
            .at
            .sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> CountedAt<'static> {
        CountedAt {
            hop: "app".into(),
            reason: "istio".into(),
            ports: vec![port],
            only_inside: false,
        }
    }

    #[test]
    fn pods_share_their_choice() {
        let mut choices = Choices::default();
        let one = choices.shared(Some(&at(80)), None).unwrap();
        let other = choices.shared(Some(&at(80)), None).unwrap();
        assert!(Arc::ptr_eq(&one, &other));
        let same = choices.shared(Some(&at(80)), Some(Arc::clone(&one)));
        assert!(Arc::ptr_eq(&one, &same.unwrap()));
        assert_eq!(choices.shared(None, Some(one)), None);
    }

    #[test]
    fn t6_what_a_source_reports_is_bounded() {
        let mut choices = Choices::default();
        let kept: Vec<_> = (1..100)
            .map(|port| choices.shared(Some(&at(port)), None))
            .collect();
        assert_eq!((kept.len(), choices.0.len()), (99, SHOWN));
        drop(kept);
        let many = CountedAt {
            ports: (1..=60_000).collect(),
            ..at(1)
        };
        let shared = choices.shared(Some(&many), None).unwrap();
        assert_eq!((shared.ports.len(), choices.0.len()), (MAX_PORTS, 1));
        let again = choices.shared(Some(&many), Some(Arc::clone(&shared)));
        assert!(Arc::ptr_eq(&shared, &again.unwrap()));
    }
}
