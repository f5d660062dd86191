//! The number of written bytes that a TCP peer has acknowledged.

use std::io;
use std::os::fd::AsRawFd;

use tokio::net::TcpStream;

/// Offset of `tcpi_bytes_acked` in `struct tcp_info`; the field exists since Linux 4.1 (include/uapi/linux/tcp.h). The
/// crate libc defines the struct for glibc only, so the field is read at its offset.
const BYTES_ACKED: usize = 120;
const LEN: usize = BYTES_ACKED + size_of::<u64>();

/// Returns the number of bytes that the peer has acknowledged, for a connection that this process opened. The kernel
/// counts the SYN as one byte, and this function subtracts it.
pub(crate) fn acked(stream: &TcpStream) -> io::Result<u64> {
    let mut info = [0_u8; LEN];
    let mut len = LEN as libc::socklen_t;
    // SAFETY: `info` has `len` bytes. The kernel writes at most `len` bytes to it, and stores the number of written
    // bytes in `len`. The descriptor is open as long as the stream is borrowed.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    if (len as usize) < LEN {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut acked = [0; size_of::<u64>()];
    acked.copy_from_slice(&info[BYTES_ACKED..]);
    Ok(u64::from_ne_bytes(acked).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_was_taken_in_is_counted_to_the_byte() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut client = TcpStream::connect(address).await.expect("open");
        let (mut server, _) = listener.accept().await.expect("open");
        assert_eq!(acked(&client).expect("linux 4.1"), 0);
        client.write_all(b"12345").await.expect("open");
        server.read_exact(&mut [0; 5]).await.expect("sent");
        server.write_all(b"x").await.expect("open");
        client.read_exact(&mut [0]).await.expect("sent");
        assert_eq!(acked(&client).expect("linux 4.1"), 5);
    }
}
