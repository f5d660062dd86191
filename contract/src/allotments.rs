//! Which ports on the activators belong to which Service: the record that the autoscaler keeps in its own namespace.
//!
//! One ConfigMap for each namespace with Services, one key for each Service, one [`Allotment`] as JSON for each key.
//! Activators listen by this record and by nothing else, because only Ebb can write it. Tenants may be able to write
//! EndpointSlices in their own namespaces, so those allot nothing.
//!
//! Bias: an allotment that is not sound is no allotment. The Service then has no proxied port, and its workload keeps a
//! pod.

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde::{Deserialize, Serialize};

/// Ports on the activators. They lie below the ports that kernels give out by themselves
/// (`net.ipv4.ip_local_port_range`, 32768 and up by default).
pub const PORTS: RangeInclusive<u16> = 20_000..=29_999;

/// Most proxied ports of one Service. The API reference of EndpointSlice allows 100 ports a slice.
pub const MOST_PORTS: usize = 100;

/// Label of the ConfigMaps, `ebb.dev/allotments=true`.
pub const LABEL: &str = "ebb.dev/allotments";

/// What the name of a namespace's ConfigMap begins with; the rest is the namespace.
const PREFIX: &str = "ebb-ports.";

/// Longest name of a Kubernetes object, in bytes (RFC 1123 subdomain).
const LONGEST_NAME: usize = 253;
/// Longest name of a Service's port, in bytes (RFC 1123 label).
const LONGEST_PORT: usize = 63;

/// The proxied ports of one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allotment {
    /// Uid of the Service. A Service of the same name that was created later is another one.
    pub service_uid: String,
    /// The workload behind it, `GROUP/KIND/NAME`; its namespace is the Service's.
    pub workload: String,
    /// Port on the activators, by name of the Service's port.
    pub ports: BTreeMap<String, u16>,
    /// When the first of these ports was allotted, in Unix seconds. Of two records that claim one number the older
    /// one holds.
    #[serde(default)]
    pub since: u64,
    /// Most requests on a pod at a time; 0 for no limit.
    #[serde(default)]
    pub hard_limit: u32,
    /// The Service that selects the pods, if it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods_of: Option<String>,
    /// Whether the Service has IPv6 addresses first of all.
    #[serde(default)]
    pub ipv6: bool,
}

impl Allotment {
    /// Whether it can be used: ports within [`PORTS`], each once, no more than [`MOST_PORTS`], and names that
    /// Kubernetes would take.
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
            // Three names and what separates them.
            && names.into_iter().all(|name| !name.is_empty() && name.len() <= 3 * LONGEST_NAME + 2)
            && pods_of.into_iter().all(|name| !name.is_empty() && name.len() <= LONGEST_NAME)
    }
}

/// Name of the ConfigMap that records a namespace's ports. A namespace's name has at most 63 characters.
#[must_use]
pub fn name(namespace: &str) -> String {
    format!("{PREFIX}{namespace}")
}

/// The namespace whose ports a ConfigMap of this name records; `None` if the name is not one of a record.
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
