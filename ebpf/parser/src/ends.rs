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

/// The client's end of a connection that was opened from inside a pod. NAT may change the destination of a connection
/// on its way to the server, but never its source: so the server's end sees the same address and port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientEnd {
    /// The client's address, network byte order. IPv4 addresses are IPv4-mapped.
    pub address: [u32; 4],
    /// The client's port, host byte order.
    pub port: u32,
    /// The slot of the pod. Addresses such as 127.0.0.1 are not unique on a node.
    pub slot: u32,
}

/// The server's end of a connection that was opened from inside a pod, as the client sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerEnd {
    /// The server's address, network byte order. IPv4 addresses are IPv4-mapped.
    pub address: [u32; 4],
    /// The server's port, host byte order.
    pub port: u32,
}

impl Ends {
    /// Returns the local end as the end of a client in the pod with this slot.
    #[inline(always)]
    pub fn local_client(&self, slot: u32) -> ClientEnd {
        ClientEnd {
            address: self.local,
            port: self.local_port,
            slot,
        }
    }

    /// Returns the remote end as the end of a client in the pod with this slot.
    #[inline(always)]
    pub fn remote_client(&self, slot: u32) -> ClientEnd {
        ClientEnd {
            address: self.remote,
            port: self.remote_port,
            slot,
        }
    }

    /// Returns the remote end as the end of a server.
    #[inline(always)]
    pub fn remote_server(&self) -> ServerEnd {
        ServerEnd {
            address: self.remote,
            port: self.remote_port,
        }
    }

    /// Returns whether the local end is this end of a server.
    #[inline(always)]
    pub fn is_at(&self, server: &ServerEnd) -> bool {
        let mut difference = self.local_port ^ server.port;
        for (own, other) in self.local.iter().zip(&server.address) {
            difference |= own ^ other;
        }
        difference == 0
    }
}

// A map key must not have padding, because the kernel compares all its bytes.
const _: () = assert!(size_of::<Ends>() == 40 && size_of::<ClientEnd>() == 24);
