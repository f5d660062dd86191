//! The true state of the model cluster, and the state that has been reported to the engine.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use ebb_autoscaler_core::Timestamp;
use ebb_contract::{Pod as PodReport, Report};

use super::{Random, config, request_path::RequestPath, start};
use crate::{
    Effect, Engine, NoTargetReason, Order, Owner, OwnerResolution, PodFacts, Queueing, Scope,
    TargetFacts, TargetKey,
};

const NODES: [&str; 3] = ["n1", "n2", "n3"];
const NAMESPACES: [&str; 2] = ["shop", "bank"];
const NAMES: [&str; 2] = ["web", "api"];
/// Number of ReplicaSets of a workload, as during a rollout.
const SETS: usize = 2;
/// Maximum number of pods of a workload; more pods would not make the test stricter.
const MOST_PODS: usize = 6;
/// Duration of the run without failures, in seconds. All required changes need less than 120 s: a stable window (6 s),
/// a grace period (6 s), the longest delay before a write is retried (60 s), and the time until missing reports are
/// detected (15 s).
const SETTLED_AFTER: u32 = 120;
/// Maximum duration of a stall. A stall can be longer than the lease of the leader.
const LONGEST_STALL: Duration = Duration::from_secs(60);

/// The state of a pod that has been reported to the engine.
#[derive(Clone, Debug)]
pub(super) struct PodInEngine {
    pub(super) ready: bool,
    pub(super) deleting: bool,
    /// Arrival time of the last report about the pod at this engine.
    pub(super) reported: Option<Timestamp>,
    pub(super) reports: u32,
}

/// A pod of the model cluster.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) uid: String,
    pub(super) workload: TargetKey,
    pub(super) owner: Arc<Owner>,
    node: &'static str,
    ready: bool,
    deleting: bool,
    load: u64,
    since: Duration,
    integral: u64,
    started: u64,
    read: Duration,
    /// State that has been reported to the engine; `None`: the pod has not been reported.
    pub(super) in_engine: Option<PodInEngine>,
}

/// A workload of the model cluster.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) key: TargetKey,
    uid: u32,
    pub(super) replicas: u32,
    /// `metadata.resourceVersion`.
    version: u64,
    opted_in: bool,
    min_scale: u32,
    /// Uid with which the engine knows the opted-in object, and the time at which the object was first reported to it;
    /// `None`: not reported.
    pub(super) in_engine: Option<(u32, Timestamp)>,
}

/// The model cluster, and the engine under test.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) step: u64,
    random: Random,
    pub(super) now: Timestamp,
    pub(super) engine: Engine,
    pub(super) leading: bool,
    pub(super) fresh: bool,
    begun: bool,
    pub(super) workloads: BTreeMap<TargetKey, Workload>,
    pub(super) pods: BTreeMap<u32, Pod>,
    next: u32,
    /// Owners of pods that the engine asked to resolve and that the model has not resolved yet, each with its
    /// namespace.
    pub(super) requested: Vec<(Box<str>, Arc<Owner>)>,
    /// Owners of pods that the model has resolved for the engine at least once.
    pub(super) answered: BTreeSet<Arc<Owner>>,
    /// Scale orders that the model has not answered yet.
    orders: Vec<Order>,
    /// Changes that have not been reported to the engine yet, oldest first.
    unreported: VecDeque<Change>,
    pub(super) events: VecDeque<String>,
    /// State of the request path; `None`: no activators are installed.
    pub(super) request_path: Option<RequestPath>,
    /// Number of all checked scale orders. `shrinking` counts the orders that reduce replicas, and `to_zero` counts the
    /// orders that request zero replicas.
    pub(super) orders_judged: u64,
    pub(super) shrinking: u64,
    pub(super) to_zero: u64,
}

#[derive(Clone, Debug)]
enum Change {
    Workload(TargetKey),
    Pod(u32),
    PodGone(u32),
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut world = Self {
            seed,
            step: 0,
            random: Random(seed),
            now: start(),
            engine: Engine::new(Queueing::Nowhere),
            request_path: (seed % 2 == 1).then(RequestPath::default),
            leading: false,
            fresh: true,
            begun: false,
            workloads: BTreeMap::new(),
            pods: BTreeMap::new(),
            next: 0,
            requested: Vec::new(),
            answered: BTreeSet::new(),
            orders: Vec::new(),
            unreported: VecDeque::new(),
            events: VecDeque::new(),
            orders_judged: 0,
            shrinking: 0,
            to_zero: 0,
        };
        for namespace in NAMESPACES {
            for name in NAMES {
                let key = TargetKey::new("apps", "Deployment", namespace, name);
                let replicas = world.random.below(MOST_PODS) as u32;
                let workload = Workload {
                    key: key.clone(),
                    uid: world.number(),
                    replicas,
                    version: 1,
                    opted_in: world.random.once_in(2),
                    min_scale: 0,
                    in_engine: None,
                };
                world.workloads.insert(key.clone(), workload);
                for _ in 0..replicas {
                    world.pod_comes(&key);
                }
            }
        }
        world.restart();
        world
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Executes one random action.
    pub(super) fn step(&mut self) {
        self.step += 1;
        match self.random.below(24) {
            0..=5 => {
                let time = self.random.below(1_500) as u64;
                self.pass(Duration::from_millis(time));
            }
            6..=10 => {
                self.report(None);
                self.act_on_request_path();
            }
            11..=13 => self.publish(),
            14 | 15 => self.answer_owner(),
            16 | 17 => self.answer_order(),
            18 => self.change_pod(),
            19 => self.controller(),
            20 => self.change_workload(),
            21 => self.change_leader(),
            22 if self.random.once_in(4) => self.stall(),
            22 => self.change_request_path(),
            23 if self.random.once_in(20) => self.restart(),
            23 if self.random.once_in(4) => self.change_freshness(),
            _ => self.decide(),
        }
        self.collect();
    }

    fn note(&mut self, event: String) {
        if self.events.len() == 60 {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.decide();
    }

    fn decide(&mut self) {
        self.note(format!("{:?} decide", self.now));
        self.engine.decide_due(self.now);
    }

    /// Simulates a stall of the autoscaler process: time passes without facts, reports and decisions. After the stall,
    /// events may arrive in any order.
    fn stall(&mut self) {
        let most = LONGEST_STALL.as_secs() as usize;
        let time = Duration::from_secs(1 + self.random.below(most) as u64);
        self.note(format!("stall of {time:?}"));
        self.now = self.now + time;
    }

    /// Sends a report of a node to the engine. `of`: the node, whose report contains all of its pods; `None`: a random
    /// node, whose report may contain only some of its pods.
    fn report(&mut self, of: Option<&'static str>) {
        let node = of.unwrap_or_else(|| NODES[self.random.below(NODES.len())]);
        let all = of.is_some() || !self.random.once_in(6);
        let at = self.now.since(start()) + Duration::from_secs(5_000);
        let mut reported = Vec::new();
        for (&id, pod) in &mut self.pods {
            if pod.node != node || !(all || self.random.once_in(2)) || at <= pod.read {
                continue;
            }
            let passed = at - pod.read.max(pod.since);
            pod.integral = pod
                .integral
                .wrapping_add(pod.load * passed.as_nanos() as u64);
            pod.started += pod.load;
            pod.read = at;
            reported.push((id, pod.uid.clone()));
        }
        let pods = reported.iter().map(|(id, uid)| {
            let pod = &self.pods[id];
            PodReport {
                uid: uid.clone().into(),
                since: pod.since.as_nanos() as u64,
                at: at.as_nanos() as u64,
                integral: pod.integral,
                in_flight: pod.load,
                started: pod.started,
                ..PodReport::default()
            }
        });
        let report = Report {
            node: node.into(),
            boot: "b".into(),
            pods: pods.collect(),
            ..Report::default()
        };
        self.engine
            .report(self.now, Scope::Node(node), node, &report);
        let names: Vec<_> = reported.iter().map(|(_, uid)| uid.as_str()).collect();
        self.note(format!("{node} reports {names:?}"));
        for (id, _) in reported {
            if let Some(in_engine) = self
                .pods
                .get_mut(&id)
                .and_then(|pod| pod.in_engine.as_mut())
            {
                in_engine.reported = Some(self.now);
                in_engine.reports += 1;
            }
        }
    }

    /// Executes one random action on the request path: a write, an answer, a watch event or a report of an activator.
    fn act_on_request_path(&mut self) {
        let Some(request_path) = &mut self.request_path else {
            return;
        };
        let (engine, now) = (&mut self.engine, self.now);
        match self.random.below(5) {
            0 => request_path.take_writes(engine, now),
            1 => {
                request_path.answer(engine, now, &mut self.random, false);
            }
            2 => request_path.publish(engine, now),
            which => request_path.report(engine, now, which - 3),
        }
    }

    /// Stops or starts a random activator, or changes the number of queued requests of a random workload.
    fn change_request_path(&mut self) {
        let which = self.random.below(self.workloads.len());
        let key = self.workloads.keys().nth(which).cloned();
        let (goes, requests) = (self.random.once_in(2), self.random.below(3) as u64);
        let (Some(request_path), Some(key)) = (&mut self.request_path, key) else {
            return;
        };
        if goes {
            let which = which % request_path.there.len();
            request_path.there[which] ^= true;
        } else {
            request_path.set_queued(&key, requests);
        }
    }

    /// Runs without failures for `SETTLED_AFTER` seconds, and then checks that every workload that Ebb scaled to zero
    /// is reachable.
    pub(super) fn settle(&mut self) {
        self.leading = true;
        self.engine.lead(true);
        self.fresh = true;
        self.engine.facts_are(None);
        for _ in 0..SETTLED_AFTER {
            self.note("settling".to_owned());
            while !self.unreported.is_empty() {
                self.publish();
            }
            while let Some((namespace, owner)) = self.requested.pop() {
                self.answer_rightly(&namespace, &owner);
            }
            for node in NODES {
                self.report(Some(node));
            }
            if let Some(request_path) = &mut self.request_path {
                let (engine, now) = (&mut self.engine, self.now);
                request_path.report(engine, now, 0);
                request_path.report(engine, now, 1);
                request_path.take_writes(engine, now);
                while request_path.answer(engine, now, &mut self.random, true) {}
                request_path.publish(engine, now);
            }
            self.collect();
            while let Some(order) = self.orders.pop() {
                self.carry_out(order, true);
            }
            self.pass(Duration::from_secs(1));
            self.collect();
        }
        self.check_settled();
    }

    /// Reports changes to the engine: at random, all unreported changes or only the oldest one.
    fn publish(&mut self) {
        let all = self.random.once_in(3);
        while let Some(change) = self.unreported.pop_front() {
            match change {
                Change::Workload(key) => self.tell_workload(&key),
                Change::Pod(id) => self.tell_pod(id),
                Change::PodGone(id) => {
                    self.engine.pod_gone(&format!("pod-{id}"));
                    self.note(format!("pod-{id} is gone"));
                    self.pods.remove(&id);
                }
            }
            self.collect();
            if !all {
                return;
            }
        }
    }

    fn tell_workload(&mut self, key: &TargetKey) {
        let Some(workload) = self.workloads.get_mut(key) else {
            return;
        };
        let class = ("autoscaling.knative.dev/class", "ebb.dev".to_owned());
        let min = (
            "autoscaling.knative.dev/min-scale",
            workload.min_scale.to_string(),
        );
        let annotations = [class, min].map(|(key, value)| (key.to_owned(), value));
        let mut facts = TargetFacts {
            key: key.clone(),
            uid: format!("uid-{}", workload.uid).into(),
            replicas: workload.replicas,
            annotations: annotations.into(),
            labels: [("app".to_owned(), key.name.to_string())].into(),
            oversized: 0,
            resource_version: workload.version.to_string().into(),
            owned: false,
            created: 0,
        };
        if !workload.opted_in {
            facts.annotations.clear();
            workload.in_engine = None;
        } else if workload
            .in_engine
            .is_none_or(|(uid, _)| uid != workload.uid)
        {
            workload.in_engine = Some((workload.uid, self.now));
        }
        let event = format!(
            "{key} reported: {} replicas, opted in: {}",
            facts.replicas, workload.opted_in
        );
        self.engine.target_seen(self.now, facts);
        self.note(event);
    }

    fn tell_pod(&mut self, id: u32) {
        let Some(pod) = self.pods.get_mut(&id) else {
            return;
        };
        let facts = PodFacts {
            uid: pod.uid.as_str().into(),
            namespace: pod.workload.namespace.clone(),
            name: pod.uid.as_str().into(),
            node: Some(pod.node.into()),
            ready: pod.ready && !pod.deleting,
            deleting: pod.deleting,
            opted_in: self.workloads[&pod.workload].opted_in,
            owner: Some(Arc::clone(&pod.owner)),
            deletion_cost: None,
            created: 0,
        };
        let before = pod.in_engine.take();
        pod.in_engine = Some(PodInEngine {
            ready: facts.ready,
            deleting: facts.deleting,
            reported: before.as_ref().and_then(|in_engine| in_engine.reported),
            reports: before.as_ref().map_or(0, |in_engine| in_engine.reports),
        });
        let event = format!("{} reported: ready {}", pod.uid, facts.ready);
        self.engine.pod_seen(self.now, facts);
        self.note(event);
    }

    /// Answers one request to resolve an owner: correctly, or with `NoTargetReason::Forbidden`.
    fn answer_owner(&mut self) {
        if self.requested.is_empty() {
            return;
        }
        let which = self.random.below(self.requested.len());
        let (namespace, owner) = self.requested.swap_remove(which);
        if !self.random.once_in(12) {
            return self.answer_rightly(&namespace, &owner);
        }
        let resolution = OwnerResolution::NoTarget(NoTargetReason::Forbidden);
        // The owner remains in `requested`, because the autoscaler requests a forbidden owner again later.
        self.requested.push((namespace.clone(), Arc::clone(&owner)));
        self.answered.insert(Arc::clone(&owner));
        self.note(format!("{} leads {resolution:?}", owner.name));
        self.engine
            .owner_resolved(self.now, &namespace, &owner, resolution);
    }

    fn answer_rightly(&mut self, namespace: &str, owner: &Arc<Owner>) {
        let name = owner.name.split('-').next().unwrap_or_default();
        let key = TargetKey::new("apps", "Deployment", namespace, name);
        self.answered.insert(Arc::clone(owner));
        self.note(format!("{} leads to {key}", owner.name));
        let resolution = OwnerResolution::Target(key);
        self.engine
            .owner_resolved(self.now, namespace, owner, resolution);
    }

    /// Answers a random scale order: the model's API server carries the order out or refuses it.
    fn answer_order(&mut self) {
        if self.orders.is_empty() {
            return;
        }
        let which = self.random.below(self.orders.len());
        let order = self.orders.swap_remove(which);
        let well = !self.random.once_in(6);
        self.carry_out(order, well);
    }

    fn carry_out(&mut self, order: Order, well: bool) {
        let mut order = order;
        let Some(workload) = self.workloads.get_mut(&order.target) else {
            return;
        };
        let is_current = workload.version.to_string() == *order.resource_version;
        if !is_current || *order.uid != *format!("uid-{}", workload.uid) {
            self.note(format!("order {} to {}: conflict", order.target, order.to));
            return self.engine.overtaken(self.now, &order);
        }
        let error = match well {
            true => {
                workload.replicas = order.to;
                workload.version += 1;
                order.written_version = Some(workload.version.to_string().into());
                if let Some(request_path) = &mut self.request_path {
                    match order.to {
                        0 => request_path.brought_to_zero.insert(order.target.clone()),
                        _ => request_path.brought_to_zero.remove(&order.target),
                    };
                }
                self.unreported
                    .push_back(Change::Workload(order.target.clone()));
                None
            }
            false => Some("quota".to_owned()),
        };
        self.note(format!("order {} to {}: {error:?}", order.target, order.to));
        self.engine.written(self.now, order, error);
    }

    /// Changes the readiness or the load of a random pod.
    fn change_pod(&mut self) {
        let Some(id) = self.any_pod() else { return };
        let load = self.random.below(300) as u64;
        let (ready, moves) = (self.random.once_in(2), self.random.once_in(2));
        if let Some(pod) = self.pods.get_mut(&id) {
            if moves {
                pod.ready = ready;
            } else {
                pod.load = load;
            }
        }
        self.unreported.push_back(Change::Pod(id));
    }

    fn any_pod(&mut self) -> Option<u32> {
        let which = self.random.below(self.pods.len());
        self.pods.keys().nth(which).copied()
    }

    /// Simulates the ReplicaSet controller for a random workload: adds or deletes one pod if the number of pods differs
    /// from the requested replicas.
    fn controller(&mut self) {
        let which = self.random.below(self.workloads.len());
        let Some(workload) = self.workloads.values().nth(which).cloned() else {
            return;
        };
        let mut own = self.pods.iter();
        let own: Vec<_> = own
            .by_ref()
            .filter(|(_, pod)| pod.workload == workload.key && !pod.deleting)
            .map(|(id, _)| *id)
            .collect();
        if own.len() < (workload.replicas as usize).min(MOST_PODS) {
            self.pod_comes(&workload.key);
        } else if own.len() > workload.replicas as usize {
            let id = own[self.random.below(own.len())];
            if let Some(pod) = self.pods.get_mut(&id) {
                pod.deleting = true;
            }
            self.unreported.push_back(Change::Pod(id));
            self.unreported.push_back(Change::PodGone(id));
        }
    }

    fn pod_comes(&mut self, workload: &TargetKey) {
        let id = self.number();
        let set = self.random.below(SETS);
        let name = format!("{}-{set}", workload.name);
        let uid = format!("{}-{name}", workload.namespace);
        let Some(owner) = Owner::named("apps/v1", "ReplicaSet", &name, &uid) else {
            return;
        };
        let since = self.now.since(start()) + Duration::from_secs(5_000);
        let pod = Pod {
            uid: format!("pod-{id}"),
            workload: workload.clone(),
            owner: Arc::new(owner),
            node: NODES[self.random.below(NODES.len())],
            ready: false,
            deleting: false,
            load: 0,
            since,
            integral: 0,
            started: 0,
            read: Duration::ZERO,
            in_engine: None,
        };
        self.pods.insert(id, pod);
        self.unreported.push_back(Change::Pod(id));
    }

    /// Simulates a change of a workload by a user: the opt-in, the minimum scale, the requested replicas, or a new
    /// object with the same name.
    fn change_workload(&mut self) {
        let which = self.random.below(self.workloads.len());
        let Some(key) = self.workloads.keys().nth(which).cloned() else {
            return;
        };
        let (what, number) = (self.random.below(8), self.random.below(MOST_PODS));
        let uid = self.number();
        if let Some(workload) = self.workloads.get_mut(&key) {
            match what {
                0 => workload.opted_in = !workload.opted_in,
                1 | 2 => workload.min_scale = number as u32,
                3 => workload.uid = uid,
                // Only `metadata.resourceVersion` changes, as when a controller writes the status of the object.
                4 => {}
                _ => {
                    workload.replicas = number as u32;
                    if let Some(request_path) = &mut self.request_path {
                        // A person has set the replicas, so the workload no longer counts as scaled to zero by Ebb.
                        request_path.brought_to_zero.remove(&key);
                    }
                }
            }
        }
        if let Some(workload) = self.workloads.get_mut(&key) {
            workload.version += 1;
        }
        self.unreported.push_back(Change::Workload(key));
    }

    fn change_leader(&mut self) {
        self.leading = !self.leading;
        self.note(format!("leading: {}", self.leading));
        self.engine.lead(self.leading);
    }

    fn change_freshness(&mut self) {
        self.fresh = !self.fresh;
        self.note(format!("fresh: {}", self.fresh));
        let why = (!self.fresh).then(|| "no message about pods".to_owned());
        self.engine.facts_are(why);
    }

    /// Simulates a restart of the autoscaler process: all objects are reported to a new engine in random order, and
    /// then the engine starts making decisions.
    fn restart(&mut self) {
        self.note("restart".to_owned());
        self.engine = Engine::new(match self.request_path {
            Some(_) => Queueing::Activators,
            None => Queueing::Nowhere,
        });
        self.engine.configure(self.now, config());
        (self.leading, self.fresh, self.begun) = (false, true, false);
        self.requested.clear();
        self.answered.clear();
        self.orders.clear();
        for pod in self.pods.values_mut() {
            pod.in_engine = None;
        }
        for workload in self.workloads.values_mut() {
            workload.in_engine = None;
        }
        let mut changes: Vec<_> = self
            .workloads
            .keys()
            .cloned()
            .map(Change::Workload)
            .collect();
        changes.extend(self.pods.keys().copied().map(Change::Pod));
        let going = self.pods.iter().filter(|(_, pod)| pod.deleting);
        let going: Vec<_> = going.map(|(id, _)| Change::PodGone(*id)).collect();
        while !changes.is_empty() {
            let which = self.random.below(changes.len());
            self.unreported.push_back(changes.swap_remove(which));
        }
        self.unreported.extend(going);
        if let Some(request_path) = &mut self.request_path {
            request_path.restart(&mut self.random);
            for key in self.workloads.keys() {
                self.engine.service_seen(RequestPath::service(key));
            }
            request_path.publish(&mut self.engine, self.now);
        }
        self.engine.kind_listed("apps", "Deployment");
        // All initial lists are complete before the first decision.
        while !self.unreported.is_empty() {
            self.publish();
        }
        self.engine.begin(self.now);
        self.begun = true;
    }

    /// Takes the actions that the engine has requested, and checks all orders among these actions.
    fn collect(&mut self) {
        for effect in self.engine.effects() {
            match effect {
                Effect::ResolveOwner { namespace, owner } => {
                    self.requested.push((namespace, owner))
                }
                Effect::Scale(order) => {
                    self.check_order(&order);
                    self.orders_judged += 1;
                    self.shrinking += u64::from(order.to < order.from);
                    self.to_zero += u64::from(order.to == 0);
                    self.orders.push(order);
                }
                Effect::Confirm(target) => {
                    let resolution = OwnerResolution::Target(target.clone());
                    self.engine.confirmed(self.now, &target, resolution);
                }
                Effect::Say(_) => {}
            }
        }
        if self.step.is_multiple_of(64) {
            self.check_memory();
        }
    }
}
