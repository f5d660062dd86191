//! What is to be done for one Service: its record first, then its slice; and in the other order when both go.
//!
//! Bias: what is not known removes nothing. A Service whose workload is not known yet keeps its record, its slice and the
//! activators in it.

use ebb_autoscaler_core::{Timestamp, annotations::Mode};
use ebb_contract::allotments::Allotment;

use super::{
    Name,
    numbers::Shortage,
    route::{ASKED_FOR, Route},
    slice::{self, Ears, Wish, Written},
    wish, zero,
};
use crate::engine::{Engine, TargetKey};

/// What is to be done.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) step: Step,
    /// Why the Service does not get all the ports it needs.
    pub(super) short: Option<Shortage>,
    /// What the Service leads to, and whether it has pods.
    pub(super) leads_to: Option<(TargetKey, bool)>,
    /// What its slice is to say of zero.
    pub(super) scaled_to_zero: bool,
}

/// The next step.
#[derive(Debug)]
pub(super) enum Step {
    /// All is as it should be.
    Nothing,
    /// Nothing is known of it any more.
    Forget,
    /// Look again then.
    Later(Timestamp),
    /// Look again when the change of the record that is under way has ended.
    AfterRecord(Timestamp),
    Record(Option<Allotment>),
    Write(Box<Wish>, Written),
    Remove,
    /// Somebody else has written the slice.
    Foreign,
}

/// A Service whose workload is not known is looked at again after this time, for what no fact tells of.
const UNKNOWN_AGAIN: std::time::Duration = std::time::Duration::from_secs(30);

impl Engine {
    /// What is to be done for a Service.
    pub(super) fn plan(&self, name: &Name, now: Timestamp) -> Plan {
        let none = Route::default();
        let route = self.fronts.routes.get(name).unwrap_or(&none);
        let Some((wish, has_pods)) = self.desired(name, route) else {
            return Plan {
                step: self.without(name, route, now),
                short: self.too_many_ports(name),
                leads_to: None,
                scaled_to_zero: false,
            };
        };
        let (wanted, short) = self.allotment(name, route, &wish, now);
        let step = match wanted {
            None => self.without(name, route, now),
            Some(wanted) if route.record.as_ref() != Some(&wanted) => {
                self.when_free(name, now, Step::Record(Some(wanted)))
            }
            Some(wanted) => self.slice(route, &wish, &wanted, now),
        };
        Plan {
            step,
            short,
            leads_to: Some((wish.workload.clone(), has_pods)),
            scaled_to_zero: wish.scaled_to_zero,
        }
    }

    /// What is wished of a Service that leads to a workload, and whether the workload has pods.
    fn desired(&self, name: &Name, route: &Route) -> Option<(Wish, bool)> {
        let space = self.fronts.spaces.get(&name.0)?;
        let (id, front) = space.front(&name.1)?;
        let entry = self.entries.get(&id)?;
        if entry.mode == Mode::Recommend || self.recommend_only {
            return None;
        }
        let current = route.current();
        let leads_to_pods = self.fronts.told.leads_to_pods(name);
        // Nothing is known yet: what the leader before had written stays.
        let is = current.is_some_and(|it| !it.endpoints.is_empty());
        // And they do not leave before nodes are told of a pod to go to.
        let proxy = entry
            .wants_proxy()
            .map_or(is, |wanted| wanted || (is && !leads_to_pods));
        let mut wish = wish(entry, front, proxy || front.pods_of.is_some());
        wish.is_last_way = !leads_to_pods;
        let marked = current.is_some_and(|it| it.scaled_to_zero);
        wish.scaled_to_zero = zero::mark(entry, marked, route.marks);
        Some((wish, entry.replicas() > 0))
    }

    /// What is to be recorded; `None`: it gets no port.
    fn allotment(
        &self,
        name: &Name,
        route: &Route,
        wish: &Wish,
        now: Timestamp,
    ) -> (Option<Allotment>, Option<Shortage>) {
        let none = std::collections::BTreeMap::new();
        let adopted = route.confirmed().map(|written| &written.ports);
        let had = match &route.record {
            Some(record) => &record.ports,
            None => adopted.unwrap_or(&none),
        };
        let most = self.fronts.most_ports.0;
        let numbers = &self.fronts.numbers;
        let (ports, short) = numbers.allot(name, wish.fronted(), had, most, now);
        let since = route.record.as_ref().map(|record| record.since);
        let wanted = Allotment {
            service_uid: wish.service_uid.clone(),
            workload: wish.workload_text(),
            ports,
            since: since.unwrap_or(now.since_epoch().as_secs()),
            hard_limit: wish.hard_limit,
            pods_of: wish.pods_of.clone(),
            ipv6: wish.six,
        };
        // A name that no Kubernetes object can have is not recorded.
        let usable = !wanted.ports.is_empty() && wanted.is_sound();
        (usable.then_some(wanted), short)
    }

    /// The slice of a Service that has its ports.
    fn slice(&self, route: &Route, wish: &Wish, record: &Allotment, now: Timestamp) -> Step {
        let current = route.current();
        let heard: Vec<_> = self.fronts.heard().collect();
        let ears = Ears {
            heard: &heard,
            listening: self.fronts.listening,
            now,
        };
        // What this leader has written, if it has: somebody may have edited the slice since.
        let basis = match (&route.asked, &route.last) {
            (None, Some(last)) => Some(last),
            _ => current,
        };
        let written = slice::decide(wish, &record.ports, basis, ears);
        if current == Some(&written) {
            return match &route.asked {
                Some((_, asked)) => Step::Later(*asked + ASKED_FOR),
                None => Step::Nothing,
            };
        }
        // What was written already was undone by somebody: it is not fought over in a tight loop.
        let undone = route.last.as_ref() == Some(&written);
        let undone = route.undone.until(now).filter(|_| undone);
        match route.trouble.until(now).max(undone) {
            Some(until) => Step::Later(until),
            None => Step::Write(Box::new(wish.clone()), written),
        }
    }

    /// What is left to be done for a Service that has no ports: the slice goes, then the record.
    fn without(&self, name: &Name, route: &Route, now: Timestamp) -> Step {
        let has_slice = route.current().is_some() || route.doubtful;
        if !has_slice && route.record.is_none() {
            let claimed = route.seen.as_ref().is_some_and(|seen| seen.claims);
            return match (claimed, route.is_empty()) {
                (true, _) => Step::Foreign,
                (false, true) => Step::Forget,
                (false, false) => Step::Nothing,
            };
        }
        if !self.may_remove(name) {
            return Step::Later(now + UNKNOWN_AGAIN);
        }
        if !has_slice {
            return self.when_free(name, now, Step::Record(None));
        }
        let under_way = route.removing.map(|asked| asked + ASKED_FOR);
        let under_way = under_way.filter(|until| *until > now);
        match route.trouble.until(now).max(under_way) {
            Some(until) => Step::Later(until),
            None => Step::Remove,
        }
    }

    /// Whether the record and the slice of a Service that leads to no workload may go.
    ///
    /// They may if the Service is gone; if the workload is known and has pods, or nobody but a person brought it to zero; or if
    /// the workload is known to be no workload of Ebb's. They may not while it is not known what the workload is.
    pub(super) fn may_remove(&self, name: &Name) -> bool {
        let space = self.fronts.spaces.get(&name.0);
        if space.is_none_or(|space| space.service(&name.1).is_none()) {
            return true;
        }
        let Some(route) = self.fronts.routes.get(name) else {
            return true;
        };
        let Some(key) = route.workload(&name.0) else {
            return true;
        };
        match self.ids.get(&key) {
            // It gets a pod first; see `zero`.
            Some(id) => {
                let entry = self.entries.get(id);
                entry.is_none_or(|entry| !self.fronts.is_ours_at_zero(entry))
            }
            None => self.is_no_workload(&key),
        }
    }

    /// A step that changes the record, if no other change of it is under way.
    fn when_free(&self, name: &Name, now: Timestamp, step: Step) -> Step {
        let book = self.fronts.books.get(&name.0);
        match book.and_then(|book| book.busy_until(now)) {
            Some(until) => Step::AfterRecord(until),
            None => step,
        }
    }

    fn too_many_ports(&self, name: &Name) -> Option<Shortage> {
        let space = self.fronts.spaces.get(&name.0)?;
        let too_many = space.service(&name.1)?.too_many_ports;
        (too_many && space.leads_to(&name.1).is_some()).then_some(Shortage::Service)
    }
}
