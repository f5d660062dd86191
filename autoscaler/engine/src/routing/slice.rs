//! The EndpointSlice by which Ebb routes a Service to the activators, in addition to the Service's own EndpointSlices.
//! This module has only pure functions; `docs/activator.md` describes the states of the EndpointSlice.
//!
//! The port numbers come from ConfigMaps in Ebb's own namespace (`ebb_contract::allotments`). The EndpointSlice repeats
//! the port numbers for kube-proxy.
//!
//! Bias: towards stability. An activator in the request path stays while it reports that it listens, and while this
//! replica could not have received its reports. Failure mode: if no activator listens, no activator is added to the
//! request path, [`is_path_confirmed`] returns false, and the last pod stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hasher as _},
    net::IpAddr,
};

use ebb_contract::slices;

use super::activator::{ActivatorInfo, ActivatorReports, ProxiedPort, is_current};
use crate::names::TargetKey;

/// The desired EndpointSlice state of a Service that routes to a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredSlice {
    /// The workload whose pods are behind the Service.
    pub workload: TargetKey,
    /// Name of the Service, which is in the namespace of the workload.
    pub service: String,
    /// Uid of the Service, which owns the EndpointSlice.
    pub service_uid: String,
    /// TCP ports of the Service: `appProtocol` by port name.
    pub ports: BTreeMap<String, Option<String>>,
    /// Whether the activators are to be in the request path (`Step::proxy`).
    pub proxy: bool,
    /// Desired number of activators in the request path (`Step::activators`).
    pub activators: u32,
    /// Whether the EndpointSlice has IPv6 addresses. The address type of an EndpointSlice cannot change, so the first
    /// address family of the Service decides.
    pub six: bool,
    /// Maximum number of concurrent requests on one pod; 0 means no limit. With a limit, only one activator is in the
    /// request path, because the limit can be kept only if one activator assigns all requests to pods.
    pub hard_limit: u32,
    /// Name of the Service that selects the pods; `None`: the proxied Service itself selects them. The public Service
    /// of a workload with a hard limit selects no pods itself, so that no request bypasses the activator.
    pub pods_of: Option<String>,
    /// Whether the EndpointSlice is to have the annotation `ebb.dev/scaled-to-zero`: Ebb scaled the workload to zero,
    /// or is about to do so.
    pub scaled_to_zero: bool,
    /// Whether the Service has no ready endpoint of a pod, so that only the activators in the EndpointSlice receive its
    /// requests. These activators remain in the EndpointSlice even if they do not report.
    pub is_last_way: bool,
}

/// The content of an EndpointSlice of Ebb.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedSlice {
    /// Activator port number, by name of the Service's port.
    pub ports: BTreeMap<String, u16>,
    /// `appProtocol` by port name, for the ports for which the Service sets `appProtocol`.
    pub protocols: BTreeMap<String, String>,
    /// Addresses of the activators in the request path.
    pub endpoints: BTreeSet<IpAddr>,
    /// Maximum number of concurrent requests on one pod; 0 means no limit.
    pub hard_limit: u32,
    /// Name of the Service that selects the pods; `None`: the proxied Service itself selects them.
    pub pods_of: Option<String>,
    /// Workload of the Service, as `GROUP/KIND/NAME`.
    pub workload: String,
    /// Uid of the Service that owns the EndpointSlice.
    pub service_uid: String,
    /// Whether the EndpointSlice has the annotation `ebb.dev/scaled-to-zero`.
    pub scaled_to_zero: bool,
    /// Whether another client has changed the EndpointSlice: it has content that Ebb never writes, for example other
    /// labels or an endpoint that is not ready.
    pub tampered: bool,
}

/// Returns the content to write to the EndpointSlice of a Service. `ports`: activator port number by port name.
/// `current`: the EndpointSlice whose activators remain in the request path if possible.
#[must_use]
pub(super) fn decide(
    desired: &DesiredSlice,
    ports: &BTreeMap<String, u16>,
    current: Option<&ObservedSlice>,
    reports: ActivatorReports<'_>,
) -> ObservedSlice {
    let endpoints = if desired.proxy && !ports.is_empty() {
        choose(desired, ports, current, reports)
    } else {
        BTreeSet::new()
    };
    let protocols = ports.keys().filter_map(|name| {
        let protocol = desired.ports.get(name)?.clone()?;
        Some((name.clone(), protocol))
    });
    ObservedSlice {
        protocols: protocols.collect(),
        ports: ports.clone(),
        endpoints,
        hard_limit: desired.hard_limit,
        pods_of: desired.pods_of.clone(),
        workload: desired.workload_text(),
        service_uid: desired.service_uid.clone(),
        scaled_to_zero: desired.scaled_to_zero,
        tampered: false,
    }
}

/// Returns whether it is confirmed that all requests to a workload go through activators: every activator in the
/// written EndpointSlice reports that it listens and has seen its own address in the EndpointSlice. The last pod may be
/// removed after this has been true for the grace period.
#[must_use]
pub(super) fn is_path_confirmed(
    desired: &DesiredSlice,
    written: &ObservedSlice,
    reports: ActivatorReports<'_>,
) -> bool {
    !written.endpoints.is_empty()
        && desired.proxied_port_names().eq(written.ports.keys())
        && written.endpoints.iter().all(|address| {
            reports.activators.iter().any(|activator| {
                activator.address == *address
                    && is_current(activator, reports.now)
                    && proxied_ports(desired, &written.ports)
                        .all(|port| activator.ports.get(&port) == Some(&true))
            })
        })
}

impl DesiredSlice {
    /// Returns the names of the proxied ports, in alphabetical order.
    pub(super) fn proxied_port_names(&self) -> impl Iterator<Item = &String> {
        self.ports
            .iter()
            .filter(|(_, protocol)| slices::is_proxied(protocol.as_deref()))
            .map(|(name, _)| name)
    }

    /// Returns the workload as `GROUP/KIND/NAME`, as in EndpointSlices and in the record of activator ports.
    pub(super) fn workload_text(&self) -> String {
        let key = &self.workload;
        format!("{}/{}/{}", key.group, key.kind, key.name)
    }
}

/// Chooses the activators for the request path. Activators that are already in the request path remain. Other
/// activators are added in an order that depends on the Service, so that the Services are spread over the activators.
fn choose(
    desired: &DesiredSlice,
    ports: &BTreeMap<String, u16>,
    current: Option<&ObservedSlice>,
    reports: ActivatorReports<'_>,
) -> BTreeSet<IpAddr> {
    let count = match desired.hard_limit {
        0 => desired.activators.max(1) as usize,
        _ => 1,
    };
    let ActivatorReports { listening, now, .. } = reports;
    let of_family = |address: &IpAddr| address.is_ipv6() == desired.six;
    let is_able = |activator: &ActivatorInfo| {
        !activator.leaving
            && of_family(&activator.address)
            && proxied_ports(desired, ports).all(|port| activator.ports.contains_key(&port))
    };
    let in_path: Vec<(IpAddr, Option<&ActivatorInfo>)> = current
        .into_iter()
        .flat_map(|written| &written.endpoints)
        .filter(|address| of_family(address))
        .map(|address| (*address, reports.newest_at(*address)))
        .collect();
    let mut able: Vec<&ActivatorInfo> = reports
        .activators
        .iter()
        .copied()
        .filter(|activator| {
            let stays = in_path
                .iter()
                .any(|(_, known)| known.is_some_and(|known| std::ptr::eq(known, *activator)));
            let there = match stays {
                true => !listening.is_stale(activator.at, now),
                false => is_current(activator, now),
            };
            there && is_able(activator)
        })
        .collect();
    able.sort_by_key(|activator| {
        let stays = in_path
            .iter()
            .any(|(address, _)| *address == activator.address);
        let namespace = &*desired.workload.namespace;
        let spread = hash(&(namespace, &desired.service, &activator.name));
        (!stays, spread)
    });
    let mut chosen: BTreeSet<_> = able
        .iter()
        .take(count)
        .map(|activator| activator.address)
        .collect();
    // Activators in the path that have not reported to this replica yet remain in the path, in addition to the chosen
    // activators. With a hard limit, only one activator is allowed; such an activator then replaces a chosen one that
    // is not in the path yet.
    let unreported = in_path
        .iter()
        .filter(|(_, known)| known.is_none() && !listening.is_unreported_gone(now))
        .map(|(address, _)| *address);
    if desired.hard_limit == 0 {
        chosen.extend(unreported.take(count));
    } else if chosen
        .iter()
        .all(|it| !in_path.iter().any(|(address, _)| address == it))
    {
        // The activator that is already in the path has assigned requests to pods, so no other activator may be added.
        if let Some(address) = unreported.take(1).next() {
            chosen = [address].into();
        }
    }
    if chosen.is_empty() && desired.is_last_way {
        // A Service must not be left without an endpoint because of a missing report. Only an activator that reports
        // its shutdown is removed.
        let stay = in_path
            .iter()
            .filter(|(_, known)| known.is_none_or(|known| !known.leaving));
        chosen.extend(stay.take(count).map(|(address, _)| *address));
    }
    chosen
}

fn proxied_ports<'a>(
    desired: &'a DesiredSlice,
    ports: &'a BTreeMap<String, u16>,
) -> impl Iterator<Item = ProxiedPort> + 'a {
    ports.iter().map(|(name, &number)| ProxiedPort {
        namespace: desired.workload.namespace.to_string(),
        service: desired.service.clone(),
        port: name.clone(),
        number,
    })
}

/// Returns a hash that is the same in all replicas of one build. Another build may hash differently, which only affects
/// endpoints that are not written yet.
fn hash(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ebb_autoscaler_core::Timestamp;

    use super::*;
    use crate::routing::listening_time::ListeningTime;

    const NOW: Timestamp = Timestamp::from_secs(1_000);
    const NUMBER: u16 = 20_001;

    fn desired(proxy: bool) -> DesiredSlice {
        DesiredSlice {
            workload: TargetKey::new("apps", "Deployment", "shop", "web"),
            service: "web".to_owned(),
            service_uid: "u".to_owned(),
            ports: [("http".to_owned(), None)].into(),
            proxy,
            activators: 2,
            six: false,
            hard_limit: 0,
            pods_of: None,
            scaled_to_zero: false,
            is_last_way: false,
        }
    }

    fn ip(last: u8) -> IpAddr {
        [10, 0, 3, last].into()
    }

    /// Returns an activator that listens on one port of the Service `web`. `in_path`: whether the activator has seen
    /// its own address in the EndpointSlice.
    fn activator(last: u8, number: u16, in_path: bool) -> ActivatorInfo {
        let port = ProxiedPort {
            namespace: "shop".to_owned(),
            service: "web".to_owned(),
            port: "http".to_owned(),
            number,
        };
        ActivatorInfo {
            name: format!("activator-{last}"),
            address: ip(last),
            at: NOW,
            leaving: false,
            ports: [(port, in_path)].into(),
        }
    }

    fn allotted() -> BTreeMap<String, u16> {
        [("http".to_owned(), NUMBER)].into()
    }

    /// Returns the [`ListeningTime`] of a replica that has been listening without a gap from `time` before `NOW` until
    /// `NOW`.
    fn listened(time: Duration) -> ListeningTime {
        let mut listening = ListeningTime::default();
        let mut at = NOW - time;
        while at < NOW {
            listening.tick(at);
            at = at + Duration::from_millis(500);
        }
        listening.tick(NOW);
        listening
    }

    fn next_after(
        listening: ListeningTime,
        desired: &DesiredSlice,
        current: Option<&ObservedSlice>,
        activators: &[ActivatorInfo],
    ) -> ObservedSlice {
        let activators: Vec<_> = activators.iter().collect();
        let reports = ActivatorReports {
            activators: &activators,
            listening,
            now: NOW,
        };
        decide(desired, &allotted(), current, reports)
    }

    fn next(
        desired: &DesiredSlice,
        current: Option<&ObservedSlice>,
        activators: &[ActivatorInfo],
    ) -> ObservedSlice {
        next_after(
            listened(Duration::from_secs(60)),
            desired,
            current,
            activators,
        )
    }

    fn is_path_confirmed(
        desired: &DesiredSlice,
        written: &ObservedSlice,
        activators: &[ActivatorInfo],
    ) -> bool {
        let activators: Vec<_> = activators.iter().collect();
        let reports = ActivatorReports {
            activators: &activators,
            listening: ListeningTime::default(),
            now: NOW,
        };
        super::is_path_confirmed(desired, written, reports)
    }

    fn leading_to(last: &[u8]) -> ObservedSlice {
        ObservedSlice {
            ports: allotted(),
            endpoints: last.iter().copied().map(ip).collect(),
            ..ObservedSlice::default()
        }
    }

    #[test]
    fn first_allotted_then_in_the_path_of_those_that_listen_then_out_of_it() {
        let first = next(&desired(true), None, &[]);
        assert_eq!((&first.ports, first.endpoints.len()), (&allotted(), 0));
        let all = [
            activator(1, NUMBER, false),
            activator(2, NUMBER, false),
            activator(3, 1, false),
        ];
        let written = next(&desired(true), Some(&first), &all);
        assert_eq!(written.endpoints, [ip(1), ip(2)].into());
        assert!(
            !is_path_confirmed(&desired(true), &written, &all),
            "the activators have not seen the EndpointSlice"
        );
        let seen = [activator(1, NUMBER, true), activator(2, NUMBER, true)];
        assert!(is_path_confirmed(&desired(true), &written, &seen));
        assert!(!is_path_confirmed(&desired(true), &written, &seen[..1]));
        let out = next(&desired(false), Some(&written), &seen);
        assert_eq!((out.ports["http"], out.endpoints.len()), (NUMBER, 0));
        assert!(!is_path_confirmed(&desired(true), &out, &seen));
    }

    #[test]
    fn those_in_the_path_stay_and_those_that_are_silent_or_leave_go() {
        let mut all: Vec<_> = (1..=9).map(|last| activator(last, NUMBER, true)).collect();
        let written = leading_to(&[7, 8]);
        let endpoints = |all: &[ActivatorInfo]| next(&desired(true), Some(&written), all).endpoints;
        assert_eq!(endpoints(&all), written.endpoints);
        all[6].leaving = true;
        let after = endpoints(&all);
        assert!(after.contains(&ip(8)) && !after.contains(&ip(7)) && after.len() == 2);
        all[7].at = Timestamp::from_secs(996);
        assert!(!endpoints(&all).contains(&ip(8)));
        assert!(!is_path_confirmed(&desired(true), &written, &all));
    }

    #[test]
    fn p3_who_has_not_listened_takes_nobody_out() {
        let written = leading_to(&[7, 8]);
        let mut stale = [activator(7, NUMBER, true), activator(8, NUMBER, true)];
        for one in &mut stale {
            one.at = Timestamp::from_secs(990);
        }
        let after = |seconds, activators: &[ActivatorInfo]| {
            let listening = listened(Duration::from_millis(seconds));
            next_after(listening, &desired(true), Some(&written), activators).endpoints
        };
        // A replica that has just started (0 s), or that has been listening for less than 3.5 s after a pause, must not
        // remove an activator from the request path.
        for activators in [&stale[..], &stale[..1], &[]] {
            assert_eq!(after(0, activators), written.endpoints);
            assert_eq!(after(3_000, activators), written.endpoints);
        }
        assert_eq!(after(3_500, &stale), [].into());
        // No activator has ever reported to this replica. The activators are removed from the request path after 15 s.
        assert_eq!(after(14_500, &[]), written.endpoints);
        assert_eq!(after(15_000, &[]), [].into());
    }

    #[test]
    fn p3_the_last_way_is_not_given_up_for_silence() {
        let last = DesiredSlice {
            is_last_way: true,
            ..desired(true)
        };
        let written = leading_to(&[7, 8]);
        assert_eq!(
            next(&last, Some(&written), &[]).endpoints,
            written.endpoints
        );
        let mut both = [activator(7, NUMBER, true), activator(8, NUMBER, true)];
        both[0].at = Timestamp::from_secs(900);
        both[1].leaving = true;
        assert_eq!(next(&last, Some(&written), &both).endpoints, [ip(7)].into());
        // If another activator reports, the activators without a report are removed.
        let one = [activator(1, NUMBER, true)];
        assert_eq!(next(&last, Some(&written), &one).endpoints, [ip(1)].into());
    }

    #[test]
    fn one_activator_gives_out_the_tokens_of_a_hard_limit() {
        let limited = DesiredSlice {
            hard_limit: 1,
            pods_of: Some("web-pods".to_owned()),
            ..desired(true)
        };
        let all: Vec<_> = (1..=5).map(|last| activator(last, NUMBER, false)).collect();
        assert_eq!(next(&limited, None, &all).endpoints.len(), 1);
        // With a hard limit, only one activator may be in the path. The activator that is already in the path has not
        // reported yet, but it may have assigned requests to pods. So it must remain the only activator.
        let written = leading_to(&[9]);
        let fresh = next_after(ListeningTime::default(), &limited, Some(&written), &all);
        assert_eq!(fresh.endpoints, [ip(9)].into());
    }

    #[test]
    fn a_port_that_has_just_come_is_not_in_place() {
        let mut desired = desired(true);
        let seen = [activator(1, NUMBER, true)];
        let written = next(&desired, None, &seen);
        assert!(is_path_confirmed(&desired, &written, &seen));
        desired.ports.insert("admin".to_owned(), None);
        assert!(!is_path_confirmed(&desired, &written, &seen));
    }

    #[test]
    fn only_activators_of_the_services_kind_of_address() {
        let six = DesiredSlice {
            six: true,
            ..desired(true)
        };
        let none = next(&six, None, &[activator(1, NUMBER, true)]);
        assert!(none.endpoints.is_empty());
    }
}
