//! The programs of the compiled object: those attached to cgroups, and those called by other programs.
//!
//! This is the only list of programs in user space. The function of a program in `ebpf/programs/src/main.rs`, its slot
//! in `ebb_abi` and its row in these lists have the same name. Only the two slots for overflow tables hold programs of
//! other names.

use std::fmt::Write as _;

use ebb_abi::{egress, ingress, sockets};
use sha2::{Digest as _, Sha256};

use super::link::Hook;

/// The kernel programs, as built by this crate's build script. A static, not a constant: each use of a constant could
/// copy the object into the binary.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("EBB_KERNEL_OBJECT"));

/// The programs that are attached to a cgroup, in this order. `connections` decides which connections are counted and
/// is last: the programs that see bytes are then already attached, so no byte of a counted connection is missed.
pub(crate) const ATTACHED: [(&str, Hook); 4] = [
    ("http1_ingress", Hook::Ingress),
    ("http1_egress", Hook::Egress),
    ("socket_release", Hook::SockRelease),
    ("connections", Hook::SockOps),
];

/// A program that other programs call, and its slot in a program array.
pub(super) struct Call {
    /// Name of the program array.
    pub(super) array: &'static str,
    /// Slot in the program array.
    pub(super) place: u32,
    /// Name of the program.
    pub(super) program: &'static str,
    /// The substitute: the program that is put into this slot if the kernel cannot load `program`, because `program`
    /// uses `bpf_loop`, which needs Linux 5.17.
    pub(super) instead: Option<&'static str>,
}

/// All programs that other programs call.
pub(super) const CALLS: [Call; 17] = [
    Call::new("INGRESS", ingress::HANDSHAKE_STORE, "handshake_store", None),
    Call::new(
        "INGRESS",
        ingress::OUT_OF_ORDER_STORE,
        "out_of_order_store",
        None,
    ),
    Call::new(
        "INGRESS",
        ingress::HTTP1_DRAIN_LOOP,
        "http1_drain_loop",
        Some("http1_drain"),
    ),
    Call::new(
        "INGRESS",
        ingress::HTTP2_DRAIN_LOOP,
        "http2_drain_loop",
        Some("http2_drain"),
    ),
    Call::new(
        "INGRESS",
        ingress::HTTP1_INGRESS_LOOP,
        "http1_ingress_loop",
        Some("http1_ingress_rest"),
    ),
    Call::new(
        "INGRESS",
        ingress::HTTP2_INGRESS_LOOP,
        "http2_ingress_loop",
        Some("http2_ingress"),
    ),
    Call::new(
        "INGRESS",
        ingress::ATTACH_MID_STREAM,
        "attach_mid_stream",
        None,
    ),
    Call::new("EGRESS", egress::ATTACH_RESPONSES, "attach_responses", None),
    Call::new("INGRESS", ingress::LOG_INGRESS, "log_ingress", None),
    Call::new("EGRESS", egress::LOG_EGRESS, "log_egress", None),
    Call::new("SOCKETS", sockets::LOG_SOCK_OPS, "log_sock_ops", None),
    Call::new(
        "SOCKETS",
        sockets::HANDSHAKE_READ_LOOP,
        "handshake_read_loop",
        Some("handshake_read"),
    ),
    Call::new(
        "EGRESS",
        egress::HTTP1_EGRESS_LOOP,
        "http1_egress_loop",
        Some("http1_egress_rest"),
    ),
    Call::new(
        "EGRESS",
        egress::HTTP2_EGRESS_LOOP,
        "http2_egress_loop",
        Some("http2_egress"),
    ),
    Call::new(
        "EGRESS",
        egress::HTTP2_GOAWAY_LOOP,
        "http2_goaway_loop",
        Some("http2_goaway"),
    ),
    Call::new(
        "INGRESS",
        ingress::HTTP2_INGRESS_OVERFLOW,
        "http2_ingress_loop",
        Some("http2_ingress_overflow"),
    ),
    Call::new(
        "EGRESS",
        egress::HTTP2_EGRESS_OVERFLOW,
        "http2_egress_loop",
        Some("http2_egress_overflow"),
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

/// Returns whether a program is loaded only if the kernel rejects the program that it replaces.
pub(super) fn is_substitute(program: &str) -> bool {
    CALLS.iter().any(|call| call.instead == Some(program))
        && !ATTACHED.iter().any(|(name, _)| *name == program)
        && !CALLS.iter().any(|call| call.program == program)
}

/// Returns whether counting works if the kernel cannot load this program. It does if the program has a substitute, or
/// if it is only the substitute of another program.
pub(super) fn is_optional(program: &str) -> bool {
    CALLS
        .iter()
        .any(|call| call.program == program && call.instead.is_some())
        || is_substitute(program)
}

/// Returns the name of this build of the programs: the first 64 bits of the object's SHA-256, in hex. 64 bits are
/// enough to distinguish the few builds that can be pinned on one node.
pub(crate) fn build() -> String {
    Sha256::digest(OBJECT)
        .iter()
        .take(8)
        .fold(String::new(), |mut name, byte| {
            // Writing to a `String` cannot fail.
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
        // Each program must be in the list of attached programs or in the list of called programs. Otherwise the
        // program could never run.
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
