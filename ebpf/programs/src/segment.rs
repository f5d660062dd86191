//! Reads a packet as a TCP segment.

use core::arch::asm;

use aya_ebpf::{
    bindings::bpf_sock, helpers::generated::bpf_skb_load_bytes, programs::SkBuffContext,
};
use ebb_abi::Exclusion;
use ebb_parser::{
    direction::Segment,
    ends::Ends,
    packet::Packet,
    window::{CARRY, LOAD, WORDS, Window},
};

use crate::maps::{EXCLUSIONS, RULES};

// include/uapi/linux/in.h and in6.h
const TCP: u8 = 6;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION: u8 = 60;

const IPV6_HEADER: u32 = 40;

/// Number of IPv6 extension headers that are skipped. The kernel itself adds one to a packet longer than 64 KiB (BIG TCP,
/// `ip6_xmit` in net/ipv6/ip6_output.c).
const EXTENSIONS: usize = 2;

/// The headers of a packet, as far as they are needed. They are read from the packet directly: one helper call would cost more
/// than all these reads.
pub struct Header {
    /// The socket of the packet.
    pub socket: *mut bpf_sock,
    /// The TCP segment in the packet.
    pub segment: Segment,
    /// Offset of the TCP header in the packet, in bytes.
    transport: u32,
}

impl Header {
    /// Reads the headers of a TCP packet over IPv4 or IPv6. `None` for any other packet, and for a packet without a socket. In a
    /// `cgroup_skb` program the packet begins with its IP header.
    #[inline(always)]
    pub fn read(context: &SkBuffContext) -> Option<Self> {
        let skb = context.skb.skb;
        // SAFETY: fields of the program's context, and bytes of the packet that have just been compared with its end, as the
        // verifier requires.
        unsafe {
            let data = (*skb).data as usize;
            let end = (*skb).data_end as usize;
            if data + 20 > end {
                return None;
            }
            let version = *(data as *const u8);
            let network = if version >> 4 == 4 {
                if *((data + 9) as *const u8) != TCP {
                    return None;
                }
                u32::from(version & 15) * 4
            } else {
                if data + IPV6_HEADER as usize > end {
                    return None;
                }
                let mut next = *((data + 6) as *const u8);
                let mut network = IPV6_HEADER;
                for _ in 0..EXTENSIONS {
                    if !matches!(next, HOP_BY_HOP | ROUTING | DESTINATION) {
                        break;
                    }
                    let extension = data + network as usize;
                    if extension + 8 > end {
                        return None;
                    }
                    next = *(extension as *const u8);
                    network += (u32::from(*((extension + 1) as *const u8)) + 1) * 8;
                }
                if next != TCP {
                    return None;
                }
                network
            };
            let tcp = data + network as usize;
            if tcp + 20 > end {
                return None;
            }
            let first = u32::from_be(*((tcp + 4) as *const u32));
            let offset = network + u32::from(*((tcp + 12) as *const u8) >> 4) * 4;
            let flags = u32::from(*((tcp + 13) as *const u8));
            // The length is taken from the context: in a GSO packet the length in the IP header may be 0.
            let length = (*skb).len.wrapping_sub(offset);
            let socket = (*skb).__bindgen_anon_2.sk;
            if socket.is_null() {
                return None;
            }
            Some(Self {
                socket,
                segment: Segment {
                    first,
                    length,
                    offset,
                    flags,
                },
                transport: network,
            })
        }
    }
}

/// The addresses and ports of an ingress TCP packet over IPv4 or IPv6. `local` is the pod's end.
#[inline(always)]
pub fn ends(context: &SkBuffContext, header: &Header) -> Option<Ends> {
    let mapped = |address| [0, 0, u32::to_be(0xffff), address];
    let version: u8 = context.load(0).ok()?;
    let (remote, local) = if version >> 4 == 4 {
        let [from, to]: [u32; 2] = context.load(12).ok()?;
        (mapped(from), mapped(to))
    } else {
        let from: [u32; 4] = context.load(8).ok()?;
        let to: [u32; 4] = context.load(24).ok()?;
        (from, to)
    };
    let [remote_port, local_port]: [u16; 2] = context.load(header.transport as usize).ok()?;
    Some(Ends {
        local,
        remote,
        local_port: u32::from(u16::from_be(local_port)),
        remote_port: u32::from(u16::from_be(remote_port)),
    })
}

/// A packet, and the pod's rules for it.
pub struct Ruled<'a> {
    /// The packet.
    pub context: &'a SkBuffContext,
    /// The pod slot.
    pub slot: u32,
}

impl Packet for Ruled<'_> {
    #[inline(always)]
    fn load(&self, offset: u32, window: &mut Window, at: u32, length: u32) -> bool {
        // Before Linux 6.8 the verifier learns no bound of a length from `!= 0`, and it loses the bounds of a number if a copy of
        // the number is compared. So both numbers are bounded by instructions that the verifier follows and the compiler cannot
        // remove.
        let mut less = u64::from(length);
        let mut at = u64::from(at);
        // SAFETY: changes two registers, and nothing else.
        unsafe {
            asm!("{0} += -1", inout(reg) less, options(pure, nomem, nostack));
            asm!("{0} &= 63", inout(reg) at, options(pure, nomem, nostack));
        }
        const _: () = assert!(CARRY <= 63 && (63 + LOAD) as usize <= WORDS * 8);
        if less >= u64::from(LOAD) {
            return false;
        }
        let length = less as u32 + 1;
        // SAFETY: `at + length` is within the window by the checks above.
        unsafe {
            let to = (&raw mut window.words).cast::<u8>().add(at as usize);
            bpf_skb_load_bytes(self.context.skb.skb.cast(), offset, to.cast(), length) == 0
        }
    }

    #[inline(always)]
    fn excludes(&self, path: &Exclusion) -> bool {
        EXCLUSIONS.get_ptr(path).is_some()
    }

    #[inline(always)]
    fn has_exclusions(&self) -> bool {
        RULES
            .get(self.slot)
            .is_some_and(|rules| rules.has_exclusions != 0)
    }
}
