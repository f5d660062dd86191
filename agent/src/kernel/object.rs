//! What is in the compiled object, and how its parts belong together.
//!
//! The one list of programs on the user side. The maps are not listed: they are what the object has.

use std::fmt::Write as _;

use ebb_common::abi::{egress, ingress, sockets};
use sha2::{Digest as _, Sha256};

use super::link::Hook;

/// The kernel programs, as built by this crate's build script. A constant would be in the program as often as it is named.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("EBB_KERNEL_OBJECT"));

/// The programs that a cgroup gets, in the order of attaching. Bytes first: a connection that
/// `sockets` takes on must have none that are not seen.
pub(crate) const ATTACHED: [(&str, Hook); 4] = [
    ("requests", Hook::Ingress),
    ("responses", Hook::Egress),
    ("released", Hook::SockRelease),
    ("sockets", Hook::SockOps),
];

/// A program that others call, through a place of a program array.
pub(super) struct Call {
    /// The array.
    pub(super) array: &'static str,
    /// The place.
    pub(super) place: u32,
    /// The program.
    pub(super) program: &'static str,
    /// What is called instead where the kernel cannot load it: before Linux 5.17 there is no `bpf_loop`.
    pub(super) instead: Option<&'static str>,
}

/// All of them.
pub(super) const CALLS: [Call; 15] = [
    Call::new("INGRESS", ingress::EARLY, "early", None),
    Call::new("INGRESS", ingress::HTTP2, "http2_requests", None),
    Call::new("INGRESS", ingress::KEEP, "keep", None),
    Call::new("INGRESS", ingress::FILL, "long_fill", Some("fill")),
    Call::new(
        "INGRESS",
        ingress::HTTP2_FILL,
        "http2_long_fill",
        Some("http2_fill"),
    ),
    Call::new("INGRESS", ingress::LONG, "long_requests", Some("requests")),
    Call::new(
        "INGRESS",
        ingress::HTTP2_LONG,
        "http2_long_requests",
        Some("http2_requests"),
    ),
    Call::new("INGRESS", ingress::JOIN, "join", None),
    Call::new("INGRESS", ingress::NOTE, "note_request", None),
    Call::new("EGRESS", egress::NOTE, "note_response", None),
    Call::new("SOCKETS", sockets::NOTE, "note_socket", None),
    Call::new("SOCKETS", sockets::ADOPT, "adopt", Some("adopt_short")),
    Call::new("EGRESS", egress::HTTP2, "http2_responses", None),
    Call::new("EGRESS", egress::LONG, "long_responses", Some("responses")),
    Call::new(
        "EGRESS",
        egress::HTTP2_LONG,
        "http2_long_responses",
        Some("http2_responses"),
    ),
];

impl Call {
    const fn new(
        array: &'static str,
        place: u32,
        program: &'static str,
        instead: Option<&'static str>,
    ) -> Self {
        Self {
            array,
            place,
            program,
            instead,
        }
    }
}

/// Whether a program is only for kernels that cannot run another one.
pub(super) fn is_substitute(program: &str) -> bool {
    CALLS.iter().any(|call| call.instead == Some(program))
        && !ATTACHED.iter().any(|(name, _)| *name == program)
        && !CALLS.iter().any(|call| call.program == program)
}

/// Whether counting goes on without this program.
pub(super) fn is_optional(program: &str) -> bool {
    CALLS
        .iter()
        .any(|call| call.program == program && call.instead.is_some())
        || is_substitute(program)
}

/// Names this build of the programs: the first 64 bits of the object's SHA-256, as hex. That many
/// tell the handful of builds that meet on one node apart.
pub(crate) fn build() -> String {
    Sha256::digest(OBJECT)
        .iter()
        .take(8)
        .fold(String::new(), |mut name, byte| {
            // Writing to a string cannot fail.
            let _ = write!(name, "{byte:02x}");
            name
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_about_what_the_object_has() {
        let object = aya_obj::Object::parse(OBJECT).unwrap();
        for call in CALLS {
            assert!(object.maps.contains_key(call.array), "{}", call.array);
            for program in [Some(call.program), call.instead].into_iter().flatten() {
                assert!(object.programs.contains_key(program), "{program}");
            }
        }
        for (program, _) in ATTACHED {
            assert!(object.programs.contains_key(program), "{program}");
        }
        // Whatever else there is could never run.
        for program in object.programs.keys() {
            let attached = ATTACHED.iter().any(|(name, _)| name == program);
            let called = CALLS
                .iter()
                .any(|call| call.program == program || call.instead == Some(program));
            assert!(attached || called, "{program} is in no list");
        }
    }

    #[test]
    fn a_build_has_a_name_that_a_pin_can_have() {
        let name = build();
        assert_eq!(name.len(), 16);
        assert!(name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    }
}
