//! Scale-down to zero and scale-up from zero in a cluster. The activators enter the request path of an ordinary
//! Service, queue requests, and leave the path.

pub(crate) mod client;
mod failures;
mod limit;
mod path;
mod race;
mod wake;
mod who;
pub(crate) mod world;

use ebb_fixtures::{Case, Need};

pub(crate) use self::client::get;
pub(crate) use self::world::{TO_ZERO, Zero, end};

/// What these tests need, because their pods are processes in cgroups, each with its own IP address.
const NEEDS: &[Need] = &[Need::Cgroup, Need::Network];

pub(crate) const CASES: &[Case] = &[
    Case::beside("zero::pod_never_ready", NEEDS, failures::pod_never_ready),
    Case::beside(
        "zero::pod_killed_in_mid_start",
        NEEDS,
        failures::pod_killed_in_mid_start,
    ),
    Case::beside("zero::who_may_tell", NEEDS, who::may_tell),
    Case::beside("zero::leaves_the_path", NEEDS, path::leaves),
    Case::beside(
        "zero::comes_back_in_a_burst",
        NEEDS,
        path::comes_back_in_a_burst,
    ),
    Case::beside(
        "zero::hard_limit_one_at_a_time",
        NEEDS,
        limit::one_at_a_time,
    ),
    Case::new("zero::first_request", NEEDS, wake::first_request),
    Case::new("zero::thousand_at_once", NEEDS, wake::thousand_at_once),
    Case::beside("zero::racing_the_step_to_zero", NEEDS, race::racing),
    Case::new("zero::activator_killed", NEEDS, failures::activator_killed),
    Case::new(
        "zero::activator_restarted",
        NEEDS,
        failures::activator_restarted,
    ),
];

/// Sends this number of requests concurrently to the endpoints of a Service.
///
/// # Panics
/// If a request is not answered with 200.
#[track_caller]
pub(crate) fn assert_answered(zero: &Zero, namespace: &str, service: &str, requests: usize) {
    let pick = zero.proxy.pick(namespace, service);
    client::assert_all_ok(&client::all(client::many(requests, &pick, "/")));
}
