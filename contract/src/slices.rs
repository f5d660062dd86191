//! Names, labels and annotations of the EndpointSlices of Ebb.
//!
//! A tenant may also write a slice with these names, labels and annotations. So the activator ports are read only from
//! the record of ports ([`allotments`](crate::allotments)).

/// Kubernetes' label with the name of a slice's Service.
pub const SERVICE: &str = "kubernetes.io/service-name";
/// Kubernetes' label with the name of the program that manages a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] on slices of Ebb.
pub const MANAGER: &str = "ebb.dev";

/// Annotation with the workload of a slice, as `GROUP/KIND/NAME`.
pub const WORKLOAD: &str = "ebb.dev/workload";
/// Annotation with the maximum number of requests in flight at one pod.
pub const HARD_LIMIT: &str = "ebb.dev/hard-limit";
/// Annotation that is `true` if Ebb has scaled the workload to zero, or is about to scale it to zero. With this
/// annotation, a request must be able to wake the workload up.
pub const SCALED_TO_ZERO: &str = "ebb.dev/scaled-to-zero";
/// Annotation with the name of another Service, whose slices list the pods. Users set it on Services; Ebb sets it on
/// slices.
pub const PODS_OF: &str = "ebb.dev/pods-of";

/// Suffix of the name of a slice of Ebb. The name of the Service precedes the suffix.
const SUFFIX: &str = "-ebb";

/// Returns the name of Ebb's slice for a Service. The result is never too long: the name of a Service has at most 63
/// characters, and the name of a slice may have 253.
#[must_use]
pub fn name(service: &str) -> String {
    format!("{service}{SUFFIX}")
}

/// Returns the name of the Service to which Ebb's slice `name` belongs; `None` if `name` is not the name of a slice of
/// Ebb.
#[must_use]
pub fn service(name: &str) -> Option<&str> {
    name.strip_suffix(SUFFIX)
}

/// Returns whether an activator can proxy a port with this `appProtocol`. TLS cannot be proxied, because its requests
/// cannot be parsed.
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
