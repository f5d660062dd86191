//! Requests to the kernel's routing socket, rtnetlink(7), as `ip link` and `tc` send them.

use std::io;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

/// The loopback device, the first device of every network namespace.
pub(super) const LOOPBACK: i32 = 1;

/// `RTM_NEWLINK` of include/uapi/linux/rtnetlink.h.
const NEW_LINK: u16 = 16;

/// `NLM_F_REQUEST | NLM_F_ACK` of include/uapi/linux/netlink.h.
const REQUEST_AND_ANSWER: u16 = 1 | 4;

/// Bytes of a `struct nlmsghdr`.
const HEADER: usize = 16;

/// Sets a device up.
pub(super) fn set_up(device: i32) -> io::Result<()> {
    const UP: u32 = 1; // IFF_UP
    // `struct ifinfomsg`: family, kind, device, flags, which flags to change.
    let mut body = vec![0; 4];
    body.extend(device.to_ne_bytes());
    body.extend(UP.to_ne_bytes());
    body.extend(UP.to_ne_bytes());
    request(NEW_LINK, 0, &body)
}

/// Encodes an attribute: length, kind, value, padded to 4 bytes.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (4 + value.len()) as u16;
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Sends a request and waits for the kernel's acknowledgement.
pub(super) fn request(kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let mut message = Vec::new();
    message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((flags | REQUEST_AND_ANSWER).to_ne_bytes());
    // Sequence number and port id, which are not used here.
    message.extend([0; 8]);
    message.extend(body);
    use std::os::fd::AsRawFd as _;
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;

    // The answer is a `struct nlmsgerr`: a header, then the error as a negative number, or 0.
    let mut answer = [0; 4096];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let error = answer[..length]
        .get(HEADER..HEADER + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(-libc::EBADMSG, i32::from_ne_bytes);
    if error == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(-error))
    }
}
