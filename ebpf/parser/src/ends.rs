//! The addresses and ports of a connection, used as a key in maps that only the kernel programs use.

/// Both ends of a connection, seen from one of them. IPv4 addresses are IPv4-mapped.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Local address, network byte order.
    pub local: [u32; 4],
    /// Remote address, network byte order.
    pub remote: [u32; 4],
    /// Local port, host byte order.
    pub local_port: u32,
    /// Remote port, host byte order.
    pub remote_port: u32,
}

// A map key must not have padding, because the kernel compares all its bytes.
const _: () = assert!(size_of::<Ends>() == 40);
