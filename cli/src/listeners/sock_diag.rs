//! The listening TCP sockets of a network namespace, with the cgroups that they belong to (sock_diag(7)).

use std::{
    io,
    net::IpAddr,
    os::fd::{AsRawFd as _, OwnedFd},
};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, Nla as _,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

/// `INET_DIAG_CGROUP_ID` of include/uapi/linux/inet_diag.h, since Linux 5.8: the id of the socket's cgroup, 64 bits.
const CGROUP_ID: u16 = 21;

/// Size of the receive buffer in bytes. The kernel writes at most 32 KiB into one datagram of a dump (`netlink_recvmsg`
/// in net/netlink/af_netlink.c).
const BUFFER: usize = 32 << 10;

/// A listening TCP socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listener {
    /// The address, in the family of the socket.
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// The inode of the socket. All network namespaces share one range of inodes.
    pub(super) inode: u32,
    /// The id of the cgroup in which the socket was created; `None` if the kernel does not tell it.
    pub(super) cgroup: Option<u64>,
}

/// Lists the listening TCP sockets in the network namespace of this thread. A listening MPTCP socket is in the list,
/// too: as its first subflow, which has the inode and the cgroup of the MPTCP socket.
///
/// # Errors
/// The kernel refuses the request (ENOENT: it was built without `CONFIG_INET_DIAG`), or its answer is invalid.
pub(super) fn listeners() -> io::Result<Vec<Listener>> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    let mut found = Vec::new();
    for (family, socket_id) in [
        (AF_INET, SocketId::new_v4()),
        (AF_INET6, SocketId::new_v6()),
    ] {
        let request = InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::empty(),
            states: StateFlags::LISTEN,
            socket_id,
        };
        send(socket.as_raw_fd(), &encode(request), MsgFlags::empty())?;
        receive(&socket, &mut found)?;
    }
    Ok(found)
}

fn encode(request: InetRequest) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Receives the answer to one request, up to its end.
fn receive(socket: &OwnedFd, found: &mut Vec<Listener>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        if decode(&buffer[..length], found)? {
            return Ok(());
        }
    }
}

/// Decodes the messages of one datagram. Returns whether the answer is complete.
fn decode(datagram: &[u8], found: &mut Vec<Listener>) -> io::Result<bool> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
            .map_err(|error| invalid(error.to_string()))?;
        match message.payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                found.push(Listener::of(&response));
            }
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            NetlinkPayload::Done(done) if done.code < 0 => {
                return Err(io::Error::from_raw_os_error(done.code.saturating_neg()));
            }
            NetlinkPayload::Done(_) => return Ok(true),
            _ => {}
        }
        // Messages are padded to a multiple of 4 bytes (NLMSG_ALIGN of include/uapi/linux/netlink.h).
        let length = (message.header.length as usize).next_multiple_of(4);
        if length == 0 {
            return Err(invalid("a message of length 0".to_owned()));
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(false)
}

impl Listener {
    fn of(response: &InetResponse) -> Self {
        let id = &response.header.socket_id;
        Self {
            address: id.source_address,
            port: id.source_port,
            inode: response.header.inode,
            cgroup: response.nlas.iter().find_map(cgroup),
        }
    }
}

/// Returns the value of the attribute if it is [`CGROUP_ID`].
fn cgroup(attribute: &Nla) -> Option<u64> {
    if attribute.kind() != CGROUP_ID || attribute.value_len() != size_of::<u64>() {
        return None;
    }
    let mut value = [0; size_of::<u64>()];
    attribute.emit_value(&mut value);
    Some(u64::from_ne_bytes(value))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use netlink_packet_core::{DefaultNla, DoneMessage, ErrorMessage};
    use netlink_packet_sock_diag::{constants::TCP_LISTEN, inet::InetResponseHeader};

    use super::*;

    fn bytes(payload: NetlinkPayload<SockDiagMessage>) -> Vec<u8> {
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), payload);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
        message.serialize(&mut bytes);
        bytes
    }

    fn response(attributes: Vec<Nla>) -> NetlinkPayload<SockDiagMessage> {
        let mut socket_id = SocketId::new_v4();
        socket_id.source_address = Ipv4Addr::LOCALHOST.into();
        socket_id.source_port = 8080;
        let header = InetResponseHeader {
            family: AF_INET,
            state: TCP_LISTEN,
            timer: None,
            socket_id,
            recv_queue: 0,
            send_queue: 0,
            uid: 0,
            inode: 17,
        };
        let nlas = attributes.into_iter().collect();
        SockDiagMessage::InetResponse(Box::new(InetResponse { header, nlas })).into()
    }

    fn attribute(kind: u16, value: &[u8]) -> Nla {
        Nla::Other(DefaultNla::new(kind, value.to_vec()))
    }

    #[test]
    fn the_cgroup_is_an_attribute_that_can_be_missing() {
        let id = 0x0000_0007_0000_0123_u64;
        let datagram = [
            bytes(response(vec![
                Nla::Shutdown(0),
                attribute(CGROUP_ID, &id.to_ne_bytes()),
            ])),
            bytes(response(vec![attribute(22, &[0, 0])])),
            bytes(response(vec![attribute(CGROUP_ID, &[1, 2])])),
        ]
        .concat();
        let mut found = Vec::new();
        assert!(!decode(&datagram, &mut found).unwrap());
        let cgroups: Vec<_> = found.iter().map(|listener| listener.cgroup).collect();
        assert_eq!(cgroups, [Some(id), None, None]);
        assert_eq!(
            found[0],
            Listener {
                address: Ipv4Addr::LOCALHOST.into(),
                port: 8080,
                inode: 17,
                cgroup: Some(id),
            }
        );
    }

    #[test]
    fn the_end_and_errors_are_told_apart() {
        let mut found = Vec::new();
        let mut end = DoneMessage::default();
        assert!(decode(&bytes(NetlinkPayload::Done(end.clone())), &mut found).unwrap());
        end.code = -libc::ENOENT;
        let error = decode(&bytes(NetlinkPayload::Done(end)), &mut found).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let mut refused = ErrorMessage::default();
        refused.code = std::num::NonZeroI32::new(-libc::EPERM);
        let error = decode(&bytes(NetlinkPayload::Error(refused)), &mut found).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        // Half a message.
        let whole = bytes(response(Vec::new()));
        assert!(decode(&whole[..20], &mut found).is_err());
        assert!(found.is_empty());
    }

    #[test]
    fn this_kernel_lists_the_sockets_of_both_families() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A host can be without IPv6.
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let address = listener.local_addr().unwrap();
            let all = listeners().unwrap();
            let listed = |listener: &&Listener| {
                (listener.address, listener.port) == (address.ip(), address.port())
            };
            assert!(all.iter().any(|listener| listed(&listener)), "{address}");
        }
    }
}
