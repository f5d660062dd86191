//! Names in EndpointSlices: which slice is Ebb's, and what its annotations mean.
//!
//! A slice that has these names may still have been written by a tenant. Ports come from the record alone
//! ([`allotments`](crate::allotments)).

/// Label with the name of the Service of a slice (Kubernetes).
pub const SERVICE: &str = "kubernetes.io/service-name";
/// Label with the name of the program that writes a slice (Kubernetes).
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] on slices of Ebb.
pub const MANAGER: &str = "ebb.dev";

/// Annotation with the workload of a slice, as `GROUP/KIND/NAME`.
pub const WORKLOAD: &str = "ebb.dev/workload";
/// Annotation with the most requests in flight at one pod.
pub const HARD_LIMIT: &str = "ebb.dev/hard-limit";
/// Annotation with the value `true` if Ebb scaled the workload to zero, or is about to: then a request must be able to wake
/// it.
pub const SCALED_TO_ZERO: &str = "ebb.dev/scaled-to-zero";
/// Annotation with the name of another Service, whose slices have the pods. On Services of users, and on slices of Ebb.
pub const PODS_OF: &str = "ebb.dev/pods-of";

/// End of the name of a slice, after the name of its Service.
const SUFFIX: &str = "-ebb";

/// The name of Ebb's slice of a Service. A Service's name has at most 63 characters, a slice's 253.
#[must_use]
pub fn name(service: &str) -> String {
    format!("{service}{SUFFIX}")
}

/// The Service whose slice of Ebb has this name; `None` if Ebb gives no such name.
#[must_use]
pub fn service(name: &str) -> Option<&str> {
    name.strip_suffix(SUFFIX)
}

/// True if an activator can stand in for a port with this `appProtocol`: its requests can be read, which TLS prevents.
#[must_use]
pub fn is_proxied(app_protocol: Option<&str>) -> bool {
    !matches!(app_protocol, Some("https" | "kubernetes.io/wss" | "tls"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_service() {
        assert_eq!(service(&name("web")), Some("web"));
        assert_eq!(service("web-abcde"), None);
    }
}
