//! Tests with changes of leader, an API server that refuses writes, and malicious tenants.

use std::net::IpAddr;

use super::*;
use crate::{Effect, Notice};

/// Takes all pending actions from the engine. Returns the Events with the given reason; the other actions are dropped.
fn said(engine: &mut Engine, reason: &str) -> Vec<Notice> {
    let effects = engine.effects().into_iter();
    effects
        .filter_map(|effect| match effect {
            Effect::Say(notice) if notice.reason == reason => Some(notice),
            _ => None,
        })
        .collect()
}

/// Returns a new leader with a workload that the previous leader scaled to zero. No activator has reported to the new
/// leader yet.
fn new_leader() -> World {
    let mut before = World::new(&[]);
    before.go_to_zero();
    let mut world = World::at(&[], 0);
    world.activator = false;
    world.known(before.record, before.slice);
    world
}

fn is_cut_off(world: &World) -> bool {
    let entry = world.engine.workloads.iter().next().unwrap();
    world.engine.routing.is_cut_off(entry, world.now)
}

#[test]
fn p3_a_new_leader_keeps_the_endpoints_of_a_workload_at_zero() {
    let mut world = new_leader();
    assert_eq!(world.endpoints(), 1);
    world.seconds(60);
    assert_eq!(
        world.endpoints(),
        1,
        "only the activator can wake the workload"
    );
    world.activator = true;
    world.seconds(3);
    assert_eq!(world.endpoints(), 1);
    world.hold(1);
    assert_eq!(world.carry_out(), 1);
}

#[test]
fn p3_a_leader_that_was_stopped_for_five_seconds_keeps_them() {
    let mut world = World::new(&[]);
    world.seconds(5);
    assert_eq!(world.endpoints(), 1);
    world.now = world.now + Duration::from_secs(5);
    // The leader makes a decision before any report has arrived. The activator must remain in the request path.
    world.write();
    world.engine.decide_due(world.now);
    world.write();
    assert_eq!(world.endpoints(), 1);
    // The activator stops reporting. It is removed from the request path, because the workload has a pod.
    world.activator = false;
    world.seconds(6);
    assert_eq!(world.endpoints(), 0);
}

#[test]
fn z4_what_ebb_scaled_to_zero_is_cut_off_when_no_activator_is_left() {
    let mut world = World::new(&[]);
    world.go_to_zero();
    assert!(world.slice.as_ref().unwrap().scaled_to_zero);
    world.seconds(30);
    assert!(!is_cut_off(&world), "it can be woken");
    world.activator = false;
    let after = (1..60).find(|_| {
        world.second();
        is_cut_off(&world)
    });
    let after = after.expect("it is noticed");
    assert!((10..=18).contains(&after), "{after} s");
    // The activator reports again, so a request can wake the workload again.
    world.activator = true;
    world.seconds(4);
    assert!(!is_cut_off(&world));
}

#[test]
fn z4_a_new_leader_knows_it_from_the_slice_and_listens_first() {
    let mut world = new_leader();
    world.seconds(8);
    assert!(!is_cut_off(&world));
    world.seconds(8);
    assert!(is_cut_off(&world));
    // The process of the leader was paused for 20 s, so missing reports do not show that activators have failed.
    world.now = world.now + Duration::from_secs(20);
    world.engine.decide_due(world.now);
    assert!(!is_cut_off(&world));
}

#[test]
fn z4_the_service_goes_while_its_workload_is_at_zero() {
    let mut world = World::new(&[]);
    world.go_to_zero();
    world.engine.service_gone("shop", "web");
    world.seconds(20);
    assert_eq!(
        (world.slice.is_none(), world.record.is_none()),
        (true, true)
    );
    assert!(is_cut_off(&world), "remembered without its slice");
}

#[test]
fn z4_a_service_that_leads_elsewhere_keeps_its_slice_until_there_is_a_pod() {
    let mut world = World::new(&[]);
    world.go_to_zero();
    let mut other = service();
    other.selector = [("app".to_owned(), "other".to_owned())].into();
    world.engine.service_seen(other);
    world.seconds(20);
    assert!(world.slice.is_some() && is_cut_off(&world));
    let mut facts = world.engine.workloads.iter().next().unwrap().target.clone();
    facts.replicas = 1;
    world.engine.target_seen(world.now, facts);
    world.seconds(40);
    assert!(world.slice.is_none() && !is_cut_off(&world));
}

#[test]
fn z4_what_a_person_scaled_to_zero_is_never_marked() {
    let mut world = World::new(&[]);
    world.load = 1;
    world.seconds(10);
    let mut facts = world.engine.workloads.iter().next().unwrap().target.clone();
    facts.replicas = 0;
    world.engine.target_seen(world.now, facts);
    world.pod_goes();
    world.activator = false;
    world.seconds(40);
    assert!(!world.slice.as_ref().unwrap().scaled_to_zero);
    assert!(!is_cut_off(&world));
}

#[test]
fn z4_the_mark_goes_when_there_are_pods_again() {
    let mut world = World::new(&[]);
    world.go_to_zero();
    world.hold(1);
    world.carry_out();
    world.seconds(3);
    assert!(!world.slice.as_ref().unwrap().scaled_to_zero);
}

#[test]
fn p4_the_slice_of_a_workload_that_is_not_known_yet_stays() {
    let mut before = World::new(&[]);
    before.go_to_zero();
    let mut world = World::at(&[], 0);
    let mut record = before.record.clone().unwrap();
    record.workload = "argoproj.io/Rollout/web".to_owned();
    let mut slice = before.slice.clone().unwrap();
    slice.workload = record.workload.clone();
    world.known(Some(record), Some(slice));
    world.engine.target_gone(world.now, &key());
    world.activator = false;
    world.seconds(100);
    assert_eq!((world.endpoints(), world.asked.len()), (1, 0));
    // All objects of the kind are listed, and the workload that the EndpointSlice names does not exist. So the
    // EndpointSlice and the recorded ports must be removed.
    let mut world = World::at(&[], 0);
    world.engine.kind_listed("apps", "Deployment");
    world.known(before.record, before.slice);
    world.engine.target_gone(world.now, &key());
    world.seconds(5);
    assert!(world.slice.is_none() && world.record.is_none());
}

#[test]
fn p10_a_refused_slice_is_tried_less_and_less_and_then_never_again() {
    let mut world = World::new(&[]);
    world.refuses = true;
    let mut notices = 0;
    for _ in 0..600 {
        world.now = world.now + Duration::from_millis(500);
        world.report_all();
        world.write();
        notices += said(&mut world.engine, "SliceRejected").len();
    }
    let writes = |world: &World| {
        let asked = world.asked.iter();
        asked.filter(|path| matches!(path, Path::Write(..))).count()
    };
    let tries = writes(&world);
    assert!(
        (7..=12).contains(&tries),
        "{tries} attempts to write the EndpointSlice in 300 s"
    );
    assert_eq!(notices, 1);
    // The Service is deleted. The recorded ports are removed as well; no EndpointSlice exists that must be removed.
    world.engine.service_gone("shop", "web");
    world.asked.clear();
    world.seconds(100);
    assert_eq!(world.asked.len(), 1, "{:?}", world.asked);
    assert!(matches!(&world.asked[0], Path::Record(_)));
    assert!(world.engine.routing.routes.is_empty());
}

#[test]
fn p10_a_removal_that_is_refused_is_paced_and_one_in_a_namespace_that_goes_is_over() {
    let mut world = World::new(&[]);
    world.seconds(3);
    world.engine.service_gone("shop", "web");
    let mut removals = 0;
    for _ in 0..300 {
        world.now = world.now + Duration::from_secs(1);
        for path in world.engine.paths(world.now) {
            removals += u32::from(matches!(path, Path::Remove { .. }));
            world.engine.path_done(world.now, &path, &refused());
        }
    }
    assert!((7..=12).contains(&removals), "{removals} in 300 s");
    world.now = world.now + Duration::from_secs(60);
    let paths = world.engine.paths(world.now);
    let over = Outcome::Refused {
        why: "it is being terminated".to_owned(),
        terminating: true,
    };
    assert!(matches!(paths[..], [Path::Remove { .. }]), "{paths:?}");
    world.engine.path_done(world.now, &paths[0], &over);
    world.asked.clear();
    world.seconds(100);
    let removals = world.asked.iter();
    let removals = removals.filter(|path| matches!(path, Path::Remove { .. }));
    assert_eq!(removals.count(), 0);
}

#[test]
fn t2_a_slice_that_a_tenant_wrote_moves_no_port_and_no_endpoint() {
    let mut world = World::new(&[]);
    world.seconds(5);
    let (record, slice) = (world.record.clone(), world.slice.clone());
    let number = record.as_ref().unwrap().ports["http"];
    world.asked.clear();
    let forged = |service: &str| ObservedSlice {
        ports: [("http".to_owned(), number)].into(),
        endpoints: [IpAddr::from([6, 6, 6, 6])].into(),
        workload: "apps/Deployment/web".to_owned(),
        service_uid: service.to_owned(),
        ..ObservedSlice::default()
    };
    // Three forged EndpointSlices: one in another namespace, and two in this namespace, with and without a name that
    // Ebb gives to EndpointSlices.
    world
        .engine
        .slice_seen("evil", "web", "e1", true, forged("u"));
    world
        .engine
        .slice_seen("shop", "other", "e2", true, forged("u"));
    world
        .engine
        .foreign_slice_seen(world.now, "shop", "forged", "e3");
    world
        .engine
        .foreign_slice_seen(world.now, "shop", "forged", "e3");
    world.write();
    let notices = said(&mut world.engine, "ForeignSlice");
    let about: Vec<_> = notices.iter().map(|it| &*it.about.name).collect();
    assert_eq!(about, ["forged", "web-ebb", "other-ebb"].map(|name| name));
    world.seconds(10);
    assert_eq!((&world.record, &world.slice), (&record, &slice));
    assert_eq!(world.asked, []);
    assert_eq!(world.engine.routing_figures().foreign_slices, 3);
    assert!(said(&mut world.engine, "ForeignSlice").is_empty(), "once");
    world.engine.slice_gone("evil", "web");
    world.engine.foreign_slice_gone("shop", "forged");
    world.write();
    assert_eq!(world.engine.routing_figures().foreign_slices, 1);
}

#[test]
fn t2_a_slice_of_ours_that_a_tenant_edits_is_written_back_and_not_in_a_tight_loop() {
    let mut world = World::new(&[]);
    world.seconds(5);
    let good = world.slice.clone().unwrap();
    world.asked.clear();
    for _ in 0..600 {
        world.now = world.now + Duration::from_millis(500);
        let mut edited = good.clone();
        edited.endpoints = [IpAddr::from([6, 6, 6, 6])].into();
        edited.tampered = true;
        world.engine.slice_seen("shop", "web", "s", true, edited);
        world.report_all();
        world.write();
    }
    assert!(world.asked.iter().all(|path| match path {
        Path::Write(_, written) => *written == good,
        _ => false,
    }));
    let writes = world.asked.len();
    assert!((7..=12).contains(&writes), "{writes} in 300 s");
    assert_eq!(world.slice, Some(good));
}

#[test]
fn t2_an_upgrade_moves_no_port() {
    let mut before = World::new(&[]);
    before.seconds(5);
    let slice = before.slice.clone().unwrap();
    // An earlier release recorded no activator ports. This replica sees an EndpointSlice that existed before the
    // replica became the leader. So it must record the port numbers of this EndpointSlice, and must not assign new
    // ones.
    let mut world = World::at(&[], 1);
    world.engine.lead(false);
    world.known(None, Some(slice.clone()));
    world.engine.lead(true);
    world.seconds(3);
    assert_eq!(world.record.as_ref().unwrap().ports, slice.ports);
    // An EndpointSlice that appears after this replica became the leader assigns no port: the Service gets another port
    // number.
    let mut world = World::new(&[]);
    world.seconds(3);
    let number = world.record.as_ref().unwrap().ports["http"];
    let other = if number == 20_000 { 20_001 } else { 20_000 };
    let mut forged = slice;
    forged.ports = [("http".to_owned(), other)].into();
    let mut second = service();
    second.name = "second".into();
    world.engine.slice_seen("shop", "second", "e", true, forged);
    world.engine.service_seen(second);
    let paths = world.engine.paths(world.now);
    let [Path::Record(change)] = &paths[..] else {
        panic!("{paths:?}");
    };
    assert_ne!(
        change.changes["second"].as_ref().unwrap().ports["http"],
        other
    );
}

#[test]
fn t2_the_older_record_keeps_a_number_that_two_claim() {
    let mut world = World::new(&[]);
    world.seconds(3);
    let record = world.record.clone().unwrap();
    let slice = world.slice.clone();
    // A former leader did not stop writing in time, and recorded the same port number for a Service in another
    // namespace.
    let mut later = record.clone();
    later.since += 100;
    let all = [("web".into(), later)].into();
    world
        .engine
        .record_seen(world.now, "other", Some("9"), all, 0);
    world.seconds(3);
    assert_eq!(
        (world.record.as_ref(), &world.slice),
        (Some(&record), &slice)
    );
    let mut older = record.clone();
    older.since -= 100;
    let all = [("web".into(), older)].into();
    world
        .engine
        .record_seen(world.now, "other", Some("10"), all, 0);
    world.seconds(3);
    assert_ne!(world.record.as_ref().unwrap().ports, record.ports);
}

#[test]
fn t5_a_service_that_does_not_fit_is_not_proxied_and_the_others_are() {
    let mut world = World::new(&[]);
    world.engine = std::mem::take(&mut world.engine).with_most_ports(5);
    let mut greedy = service();
    greedy.name = "greedy".into();
    greedy.ports = (0..6).map(|port| (format!("p{port}"), None)).collect();
    greedy.selector = [("app".to_owned(), "greedy".to_owned())].into();
    world.engine.service_seen(greedy.clone());
    let mut facts = world.engine.workloads.iter().next().unwrap().target.clone();
    facts.key = TargetKey::new("apps", "Deployment", "shop", "greedy");
    facts.uid = "greedy".into();
    facts.labels = greedy.selector.clone();
    world.engine.target_seen(world.now, facts);
    let mut notices = Vec::new();
    for _ in 0..20 {
        world.report_all();
        world.write();
        notices.extend(said(&mut world.engine, "PortLimit"));
        world.now = world.now + Duration::from_millis(500);
        world.engine.decide_due(world.now);
    }
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!(&*notices[0].about.name, "greedy");
    assert!(
        notices[0].note.contains("limit of 5"),
        "{}",
        notices[0].note
    );
    let entries: Vec<_> = world.engine.workloads.iter().collect();
    let held: Vec<_> = entries.iter().map(|entry| entry.can_be_queued).collect();
    assert_eq!(held, [true, false]);
    assert_eq!(world.record.as_ref().unwrap().ports.len(), 1);
    // With 4 ports, the Service does not exceed the limit of the namespace (1 + 4 = 5), so it gets its ports.
    greedy.ports = (0..4).map(|port| (format!("p{port}"), None)).collect();
    world.engine.service_seen(greedy);
    world.write();
    assert_eq!(world.engine.routing_figures().short_services, 0);
    assert_eq!(world.engine.routing_figures().proxied_services, 2);
}

/// Unchanged Services are not checked again: a call checks only changed Services, and at most 200 others.
#[test]
fn t3_a_look_does_not_walk_over_all_workloads() {
    let mut world = World::new(&[]);
    for number in 0..3_000_u32 {
        let mut odd = service();
        odd.namespace = "hostile".into();
        odd.name = format!("odd-{number}").into();
        odd.headless = number % 2 == 0;
        odd.selector = [("app".to_owned(), "odd".to_owned())].into();
        world.engine.service_seen(odd);
        let mut facts = world.engine.workloads.iter().next().unwrap().target.clone();
        facts.key = TargetKey::new("apps", "Deployment", "hostile", &format!("odd-{number}"));
        facts.uid = format!("odd-{number}").into();
        facts.labels = [("app".to_owned(), "odd".to_owned())].into();
        facts.replicas = 0;
        world.engine.target_seen(world.now, facts);
    }
    while !world.engine.routing.dirty.is_empty() {
        world.write();
    }
    assert!(
        world.engine.routing.routes.len() <= 1,
        "no routing state for these Services"
    );
    world.engine.routing.gather(world.now);
    let slowly = world.engine.routing.dirty.len();
    assert!(
        slowly <= 200,
        "{slowly} Services checked, but none has changed"
    );
}

/// Removes the class annotation of the workload, and sets its requested replicas.
fn opt_out(world: &mut World, replicas: u32) {
    let mut facts = world.engine.workloads.iter().next().unwrap().target.clone();
    facts.annotations.clear();
    facts.replicas = replicas;
    world.now = world.now + Duration::from_millis(100);
    world.engine.target_seen(world.now, facts);
    world.collect();
}

#[test]
fn z1_who_opts_out_at_zero_gets_a_pod_before_the_path_is_given_up() {
    let mut world = World::new(&[]);
    world.go_to_zero();
    opt_out(&mut world, 0);
    assert_eq!(world.carry_out(), 1);
    world.seconds(20);
    assert_eq!(world.endpoints(), 1, "the pod is not ready yet");
    opt_out(&mut world, 1);
    world.engine.kind_listed("apps", "Deployment");
    world.pod_comes();
    world.seconds(10);
    assert_eq!(world.engine.views().count(), 0);
    assert!(world.slice.is_none() && world.record.is_none());
    assert!(world.orders.is_empty(), "{:?}", world.orders);
}

#[test]
fn z1_who_opts_out_as_soon_as_the_last_pod_is_gone_gets_one() {
    let mut world = World::new(&[]);
    world.until_order(200).expect("an order");
    assert_eq!(world.carry_out(), 0);
    world.pod_goes();
    // The last pod of the workload is removed, and the workload opts out before the next decision. The workload must
    // still get a pod.
    opt_out(&mut world, 0);
    assert_eq!(world.carry_out(), 1);
}

#[test]
fn z1_who_opts_out_while_it_is_being_woken_keeps_its_path_until_a_pod_is_ready() {
    let mut world = World::new(&[]);
    world.go_to_zero();
    world.hold(1);
    assert_eq!(world.carry_out(), 1);
    world.engine.kind_listed("apps", "Deployment");
    opt_out(&mut world, 1);
    world.seconds(10);
    assert_eq!(world.endpoints(), 1, "the pod is not ready yet");
    world.pod_comes();
    world.seconds(10);
    assert!(world.slice.is_none(), "left alone");
}

#[test]
fn z1_who_is_scaled_to_zero_by_a_person_and_opts_out_stays_there() {
    let mut world = World::new(&[]);
    world.load = 1;
    world.seconds(10);
    let mut facts = world.engine.workloads.iter().next().unwrap().target.clone();
    facts.replicas = 0;
    world.engine.target_seen(world.now, facts);
    world.pod_goes();
    opt_out(&mut world, 0);
    world.seconds(20);
    assert!(world.orders.is_empty(), "{:?}", world.orders);
    assert_eq!(world.engine.views().count(), 0);
}

#[test]
fn z1_a_new_leader_finds_who_has_opted_out_at_zero() {
    for slice_first in [true, false] {
        let mut before = World::new(&[]);
        before.go_to_zero();
        let mut world = World::at(&[], 0);
        let mut facts = world.engine.workloads.iter().next().unwrap().target.clone();
        facts.annotations.clear();
        world.engine = Engine::new(Queueing::Activators);
        world.engine.configure(world.now, Config::default());
        world.engine.service_seen(service());
        world.engine.lead(true);
        let (record, slice) = (before.record.clone(), before.slice.clone());
        if slice_first {
            world.known(record, slice);
            world.engine.target_seen(world.now, facts);
        } else {
            world.engine.target_seen(world.now, facts);
            world.known(record, slice);
        }
        world.engine.kind_listed("apps", "Deployment");
        world.engine.begin(world.now);
        world.seconds(3);
        assert_eq!(world.carry_out(), 1);
        assert_eq!(world.endpoints(), 1);
    }
}
