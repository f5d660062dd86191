//! Names in EndpointSlices: which slice is Ebb's, and what its annotations mean.
//!
//! A tenant may also have written a slice with these names. So ports come from the record alone
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
/// Annotation with the value `true` if Ebb has scaled the workload to zero or is about to: a request must then be able
/// to wake it up.
pub const SCALED_TO_ZERO: &str = "ebb.dev/scaled-to-zero";
/// Annotation with the name of another Service, whose slices list the pods. It is on Services of users and on slices of
/// Ebb.
pub const PODS_OF: &str = "ebb.dev/pods-of";

/// End of the name of a slice, after the name of its Service.
const SUFFIX: &str = "-ebb";

/// Returns the name of Ebb's slice of a Service. A Service's name has at most 63 characters, a slice's 253.
#[must_use]
pub fn name(service: &str) -> String {
    format!("{service}{SUFFIX}")
}

/// Returns the Service whose slice of Ebb has this name; `None` if Ebb does not use such a name.
#[must_use]
pub fn service(name: &str) -> Option<&str> {
    name.strip_suffix(SUFFIX)
}

/// True if an activator can proxy a port with this `appProtocol`. TLS cannot be proxied, because its requests cannot be
/// parsed.
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
