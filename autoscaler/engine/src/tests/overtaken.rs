//! Tests in which another client changes an object between a decision and the write of its order.

use super::*;

const TEN: (&str, &str) = ("autoscaling.knative.dev/target", "10");

/// Advances the time by one second. The watch then reports the workload with these replicas and this version.
fn report_target(cluster: &mut Cluster, replicas: u32, version: &str) {
    cluster.now = cluster.now + Duration::from_secs(1);
    let facts = TargetFacts {
        resource_version: version.into(),
        ..target("web", replicas, &[TEN])
    };
    cluster.engine.target_seen(cluster.now, facts);
}

fn order(effects: &[Effect]) -> Option<Order> {
    effects.iter().rev().find_map(|effect| match effect {
        Effect::Scale(order) => Some(order.clone()),
        _ => None,
    })
}

#[test]
fn p7_an_order_that_was_overtaken_is_decided_anew() {
    let mut cluster = Cluster::new();
    let facts = target("web", 1, &[TEN]);
    cluster.engine.target_seen(cluster.now, facts);
    cluster.pod("web", "a", "n1", 2);
    cluster.pass(70);
    cluster.find("a").load = 35;
    let first = order(&cluster.pass(10)).unwrap();
    assert_eq!((first.to, &*first.resource_version), (5, "1"));

    // The API server refuses the write before the watch has reported the change by another client, so no new decision
    // is possible yet.
    cluster.engine.overtaken(cluster.now, &first);
    assert_eq!(order(&cluster.engine.effects()), None);
    report_target(&mut cluster, 3, "2");
    let second = order(&cluster.engine.effects()).unwrap();
    assert_eq!(
        (second.from, second.to, &*second.resource_version),
        (3, 5, "2")
    );

    // The watch reports the change by another client before the API server refuses the write.
    report_target(&mut cluster, 2, "3");
    assert_eq!(order(&cluster.engine.effects()), None);
    cluster.engine.overtaken(cluster.now, &second);
    let third = order(&cluster.engine.effects()).unwrap();
    assert_eq!((third.from, &*third.resource_version), (2, "3"));
}

#[test]
fn p7_the_next_order_follows_the_version_that_ours_has_made() {
    let mut cluster = Cluster::new();
    let facts = target("web", 1, &[TEN]);
    cluster.engine.target_seen(cluster.now, facts);
    cluster.pod("web", "a", "n1", 2);
    cluster.pass(70);
    cluster.find("a").load = 35;
    let mut first = order(&cluster.pass(10)).unwrap();
    first.written_version = Some("9".into());
    cluster.engine.written(cluster.now, first, None);
    cluster.find("a").load = 90;
    let second = order(&cluster.pass(4)).unwrap();
    assert_eq!(&*second.resource_version, "9");
}

/// While a Deployment is being scaled, its status is written often. So the watch may report a status write before the
/// API server answers Ebb's write. The next order must then use the version that the watch reported.
#[test]
fn p7_a_change_that_is_told_before_our_answer_stays_the_newer_one() {
    let mut cluster = Cluster::new();
    let facts = target("web", 1, &[TEN]);
    cluster.engine.target_seen(cluster.now, facts);
    cluster.pod("web", "a", "n1", 2);
    cluster.pass(70);
    cluster.find("a").load = 35;
    let mut first = order(&cluster.pass(10)).unwrap();
    report_target(&mut cluster, first.to, "10");
    first.written_version = Some("9".into());
    cluster.engine.written(cluster.now, first, None);
    cluster.find("a").load = 90;
    let second = order(&cluster.pass(4)).unwrap();
    assert_eq!(&*second.resource_version, "10");
}
