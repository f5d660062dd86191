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

// IP protocol numbers of include/uapi/linux/in.h and in6.h. The bindings of aya do not have them.
const TCP: u8 = 6;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION: u8 = 60;

/// Offset of the byte in an IP header whose upper half is the version.
const VERSION: usize = 0;

/// Offsets in an IPv4 header, in bytes (RFC 791, section 3.1).
mod ipv4 {
    /// The protocol of the payload.
    pub(super) const PROTOCOL: usize = 9;
    /// The source address. The destination address follows the source address.
    pub(super) const ADDRESSES: usize = 12;
    /// The end of the header, if the header has no options.
    pub(super) const END: usize = 20;
}

/// Offsets in an IPv6 header, in bytes (RFC 8200, section 3).
mod ipv6 {
    /// The type of the next header.
    pub(super) const NEXT_HEADER: usize = 6;
    /// The source address.
    pub(super) const SOURCE: usize = 8;
    /// The destination address.
    pub(super) const DESTINATION: usize = 24;
    /// The end of the header.
    pub(super) const END: usize = 40;
}

/// Offsets in an IPv6 extension header, in bytes (RFC 8200, section 4).
mod extension {
    /// The type of the next header.
    pub(super) const NEXT_HEADER: usize = 0;
    /// The length of this header, in units of [`UNIT`]. The first unit is not counted.
    pub(super) const LENGTH: usize = 1;
    /// Unit of `LENGTH`: 8 bytes. Every extension header has at least one unit.
    pub(super) const UNIT: u32 = 8;
}

/// Offsets in a TCP header, in bytes (RFC 9293, section 3.1).
mod tcp {
    /// The source port. The destination port follows the source port.
    pub(super) const PORTS: usize = 0;
    /// The sequence number.
    pub(super) const SEQUENCE: usize = 4;
    /// The number of the next byte that the sender expects.
    pub(super) const ACKNOWLEDGMENT: usize = 8;
    /// The byte whose upper half is the length of the header, in words of 4 bytes.
    pub(super) const DATA_OFFSET: usize = 12;
    /// The flags.
    pub(super) const FLAGS: usize = 13;
    /// The end of the header, if the header has no options.
    pub(super) const END: usize = 20;
}

/// Maximum number of IPv6 extension headers that are skipped. The kernel itself adds one extension header to a packet
/// longer than 64 KiB (BIG TCP, `ip6_xmit` in net/ipv6/ip6_output.c).
const EXTENSIONS: usize = 2;

/// The fields of a packet's headers that the programs need. The fields are read from the packet directly: one helper
/// call would cost more than all these reads.
pub struct Header {
    /// The socket of the packet.
    pub socket: *mut bpf_sock,
    /// The TCP segment in the packet.
    pub segment: Segment,
    /// Offset of the TCP header in the packet, in bytes.
    transport: u32,
}

impl Header {
    /// Reads the headers of a TCP packet over IPv4 or IPv6. Returns `None` for any other packet, and for a packet
    /// without a socket. In a `cgroup_skb` program the packet begins with its IP header.
    #[inline(always)]
    pub fn read(context: &SkBuffContext) -> Option<Self> {
        let skb = context.skb.skb;
        // SAFETY: the code reads fields of the program's context, and bytes of the packet that have just been compared
        // with its end, as the verifier requires.
        unsafe {
            let data = (*skb).data as usize;
            let end = (*skb).data_end as usize;
            if data + ipv4::END > end {
                return None;
            }
            let version = *((data + VERSION) as *const u8);
            let network = if version >> 4 == 4 {
                if *((data + ipv4::PROTOCOL) as *const u8) != TCP {
                    return None;
                }
                u32::from(version & 15) * 4
            } else {
                if data + ipv6::END > end {
                    return None;
                }
                let mut next = *((data + ipv6::NEXT_HEADER) as *const u8);
                let mut network = ipv6::END as u32;
                for _ in 0..EXTENSIONS {
                    if !matches!(next, HOP_BY_HOP | ROUTING | DESTINATION) {
                        break;
                    }
                    let header = data + network as usize;
                    if header + extension::UNIT as usize > end {
                        return None;
                    }
                    next = *((header + extension::NEXT_HEADER) as *const u8);
                    let units = u32::from(*((header + extension::LENGTH) as *const u8)) + 1;
                    network += units * extension::UNIT;
                }
                if next != TCP {
                    return None;
                }
                network
            };
            let transport = data + network as usize;
            if transport + tcp::END > end {
                return None;
            }
            let first = u32::from_be(*((transport + tcp::SEQUENCE) as *const u32));
            let words = u32::from(*((transport + tcp::DATA_OFFSET) as *const u8) >> 4);
            let offset = network + words * 4;
            let flags = u32::from(*((transport + tcp::FLAGS) as *const u8));
            // The length of the packet is taken from the context: in a GSO packet, the length in the IP header may be
            // 0.
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

/// Returns the addresses and ports of an ingress TCP packet over IPv4 or IPv6. `local` is the pod's end.
#[inline(always)]
pub fn ends(context: &SkBuffContext, header: &Header) -> Option<Ends> {
    let mapped = |address| [0, 0, u32::to_be(0xffff), address];
    let version: u8 = context.load(VERSION).ok()?;
    let (remote, local) = if version >> 4 == 4 {
        let [from, to]: [u32; 2] = context.load(ipv4::ADDRESSES).ok()?;
        (mapped(from), mapped(to))
    } else {
        let from: [u32; 4] = context.load(ipv6::SOURCE).ok()?;
        let to: [u32; 4] = context.load(ipv6::DESTINATION).ok()?;
        (from, to)
    };
    let [remote_port, local_port]: [u16; 2] =
        context.load(header.transport as usize + tcp::PORTS).ok()?;
    Some(Ends {
        local,
        remote,
        local_port: u32::from(u16::from_be(local_port)),
        remote_port: u32::from(u16::from_be(remote_port)),
    })
}

/// Returns the sequence number up to which the sender of a TCP packet has received the other end's data.
#[inline(always)]
pub fn acknowledged(context: &SkBuffContext, header: &Header) -> Option<u32> {
    let number: u32 = context
        .load(header.transport as usize + tcp::ACKNOWLEDGMENT)
        .ok()?;
    Some(u32::from_be(number))
}

/// A packet, and the slot of the pod whose rules apply to it.
pub struct SkbPacket<'a> {
    /// The packet.
    pub context: &'a SkBuffContext,
    /// The pod slot.
    pub slot: u32,
}

impl Packet for SkbPacket<'_> {
    #[inline(always)]
    fn load(&self, offset: u32, window: &mut Window, at: u32, length: u32) -> bool {
        // Before Linux 6.8 the verifier derives no bound of a length from a comparison `!= 0`, and it loses the bounds
        // of a number if a copy of the number is compared. So `length` and `at` are bounded by instructions that the
        // verifier can follow and the compiler cannot remove.
        let mut less = u64::from(length);
        let mut at = u64::from(at);
        // SAFETY: the instructions change two registers, and nothing else.
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
