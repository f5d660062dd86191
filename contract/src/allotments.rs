//! The record of ports: which activator ports belong to which Service. The autoscaler writes the record in its own
//! namespace.
//!
//! There is one ConfigMap for each namespace with proxied Services. The ConfigMap has one key for each Service; the
//! value is an [`Allotment`] as JSON. Activators listen only on the ports in these ConfigMaps, because only Ebb can
//! write them. Tenants may be able to write EndpointSlices in their own namespaces, so EndpointSlices assign no ports.
//!
//! Bias: an invalid allotment is ignored. Failure mode: a Service with an invalid allotment has no proxied port, and
//! its workload keeps at least one pod.

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde::{Deserialize, Serialize};

/// The range of activator ports. The range is below the ports that a kernel assigns by itself
/// (`net.ipv4.ip_local_port_range`, 32768 and up by default).
pub const PORTS: RangeInclusive<u16> = 20_000..=29_999;

/// Maximum number of proxied ports of one Service. The API reference of EndpointSlice allows 100 ports per slice.
pub const MOST_PORTS: usize = 100;

/// Label of the ConfigMaps, `ebb.dev/allotments=true`.
pub const LABEL: &str = "ebb.dev/allotments";

/// Prefix of the name of a ConfigMap; the rest is the namespace.
const PREFIX: &str = "ebb-ports.";

/// Longest name of a Kubernetes object, in bytes (RFC 1123 subdomain).
const LONGEST_NAME: usize = 253;
/// Longest name of a Service's port, in bytes (RFC 1123 label).
const LONGEST_PORT: usize = 63;

/// The proxied ports of one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allotment {
    /// Uid of the Service. It differs from the uid of a later Service with the same name.
    pub service_uid: String,
    /// The workload behind the Service, `GROUP/KIND/NAME`, in the namespace of the Service.
    pub workload: String,
    /// Numbers of the activator ports, by the name of the Service's port.
    pub ports: BTreeMap<String, u16>,
    /// When the first port of this allotment was assigned, in Unix seconds. If two allotments contain the same port
    /// number, the older allotment is valid.
    #[serde(default)]
    pub since: u64,
    /// Maximum number of requests in flight at one pod; 0: no limit.
    #[serde(default)]
    pub hard_limit: u32,
    /// Name of the Service that selects the pods, if it is not the proxied Service itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods_of: Option<String>,
    /// True if the Service's first address family is IPv6.
    #[serde(default)]
    pub ipv6: bool,
}

impl Allotment {
    /// Returns whether the allotment is valid: at most [`MOST_PORTS`] ports, all of them different and within
    /// [`PORTS`], and no name longer than Kubernetes allows.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let mut numbers: Vec<_> = self.ports.values().collect();
        numbers.sort_unstable();
        numbers.dedup();
        let names = [&self.service_uid, &self.workload];
        let pods_of = self.pods_of.iter();
        numbers.len() == self.ports.len()
            && numbers.len() <= MOST_PORTS
            && numbers.into_iter().all(|number| PORTS.contains(number))
            && self.ports.keys().all(|name| name.len() <= LONGEST_PORT)
            // A workload is written as three names and two separators.
            && names.into_iter().all(|name| !name.is_empty() && name.len() <= 3 * LONGEST_NAME + 2)
            && pods_of.into_iter().all(|name| !name.is_empty() && name.len() <= LONGEST_NAME)
    }
}

/// Returns the name of the ConfigMap with the ports of a namespace. A namespace's name has at most 63 characters.
#[must_use]
pub fn name(namespace: &str) -> String {
    format!("{PREFIX}{namespace}")
}

/// Returns the namespace of a ConfigMap that records ports, from the name of the ConfigMap; `None` if `name` is not the
/// name of such a ConfigMap.
#[must_use]
pub fn namespace(name: &str) -> Option<&str> {
    name.strip_prefix(PREFIX)
        .filter(|namespace| !namespace.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allotment() -> Allotment {
        Allotment {
            service_uid: "u".to_owned(),
            workload: "apps/Deployment/web".to_owned(),
            ports: [("http".to_owned(), 20_017)].into(),
            since: 7,
            ..Allotment::default()
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let text = serde_json::to_string(&allotment()).unwrap();
        assert_eq!(
            text,
            r#"{"serviceUid":"u","workload":"apps/Deployment/web","ports":{"http":20017},"since":7,"hardLimit":0,"ipv6":false}"#
        );
        assert_eq!(
            serde_json::from_str::<Allotment>(&text).unwrap(),
            allotment()
        );
        assert_eq!(namespace(&name("shop")), Some("shop"));
        assert_eq!(namespace("ebb-ports."), None);
        assert_eq!(namespace("config-autoscaler"), None);
    }

    #[test]
    fn what_is_not_sound_is_no_allotment() {
        assert!(allotment().is_sound());
        let with = |change: fn(&mut Allotment)| {
            let mut changed = allotment();
            change(&mut changed);
            changed.is_sound()
        };
        assert!(!with(|it| it.service_uid.clear()));
        assert!(!with(|it| it.workload = "x".repeat(900_000)));
        assert!(!with(|it| it.pods_of = Some(String::new())));
        assert!(!with(|it| it.ports.extend([("a".to_owned(), 20_017)])));
        assert!(!with(|it| it.ports.extend([("a".to_owned(), 443)])));
        assert!(!with(|it| it.ports = (0..101)
            .map(|port| (port.to_string(), 20_000 + port))
            .collect()));
    }
}
