//! Chooses free ports for replicas.
//!
//! [`Ports`] checks that a port is free and releases it; the replica listens on the port a moment later. In between,
//! another program may take the port. Most likely, the kernel takes it for an outgoing connection: under load there are
//! many. So ports are chosen outside the kernel's range for outgoing connections, and no port is used again before all
//! others have been used.
//!
//! Failure mode: if another program takes the port in between, the replica cannot listen on it, and [`is_taken`]
//! detects this.

use std::{
    fs,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener},
    ops::RangeInclusive,
    process,
};

/// Lowest port for replicas. On many hosts, lower ports belong to well-known services.
const LOWEST: u16 = 10_000;
/// Minimum number of ports in the range: enough for one port per replica on one host.
const FEWEST: u16 = 1_000;

/// Hands out ports. No port is handed out again before all other ports have been handed out.
#[derive(Debug)]
pub(crate) struct Ports {
    range: RangeInclusive<u16>,
    next: u16,
}

impl Ports {
    /// Creates a range of ports outside the kernel's range for outgoing connections.
    pub(crate) fn new() -> Ports {
        let range = outside(ephemeral().unwrap_or(32_768..=60_999));
        let size = range.end() - range.start() + 1;
        // Runs on the same host begin with different ports.
        let offset = u16::try_from(process::id() % u32::from(size)).unwrap_or_default();
        Ports {
            next: range.start() + offset,
            range,
        }
    }

    /// Returns a port that no program listens on now, on any address.
    ///
    /// # Errors
    ///
    /// Returns an error if no port is free, or if no socket can be created.
    pub(crate) fn take(&mut self) -> io::Result<u16> {
        for _ in self.range.clone() {
            let port = self.next;
            self.next = if port == *self.range.end() {
                *self.range.start()
            } else {
                port + 1
            };
            if !is_taken(port)? {
                return Ok(port);
            }
        }
        Err(io::Error::new(
            ErrorKind::AddrInUse,
            format!(
                "no port is free between {} and {}",
                self.range.start(),
                self.range.end()
            ),
        ))
    }
}

/// Returns whether a program listens on the port, on any address of IPv4 or IPv6.
pub(crate) fn is_taken(port: u16) -> io::Result<bool> {
    for host in [
        IpAddr::from(Ipv6Addr::UNSPECIFIED),
        Ipv4Addr::UNSPECIFIED.into(),
    ] {
        match TcpListener::bind((host, port)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse => return Ok(true),
            // A host without IPv6 answers EAFNOSUPPORT or EADDRNOTAVAIL.
            Err(_) if host.is_ipv6() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Returns the kernel's range of local ports for outgoing connections, or `None` if the range cannot be read.
fn ephemeral() -> Option<RangeInclusive<u16>> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut bounds = text.split_whitespace().map(str::parse);
    Some(bounds.next()?.ok()?..=bounds.next()?.ok()?)
}

/// Returns the larger of the two port ranges below and above `ephemeral`, from [`LOWEST`] up. If it has fewer than
/// [`FEWEST`] ports, returns all ports from [`LOWEST`] up.
fn outside(ephemeral: RangeInclusive<u16>) -> RangeInclusive<u16> {
    let below = LOWEST..=ephemeral.start().saturating_sub(1);
    let above = LOWEST.max(ephemeral.end().saturating_add(1))..=u16::MAX;
    let larger = if below.len() >= above.len() {
        below
    } else {
        above
    };
    if larger.len() >= usize::from(FEWEST) {
        larger
    } else {
        LOWEST..=u16::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_stay_out_of_the_kernels_range() {
        assert_eq!(outside(32_768..=60_999), 10_000..=32_767);
        assert_eq!(outside(10_500..=20_000), 20_001..=65_535);
        assert_eq!(outside(1_024..=65_535), 10_000..=65_535);
    }

    #[test]
    fn each_port_is_handed_out_once() {
        let mut ports = Ports::new();
        let (one, two) = (ports.take().unwrap(), ports.take().unwrap());
        assert_ne!(one, two);
    }

    #[test]
    fn a_port_somebody_listens_on_is_taken() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(is_taken(listener.local_addr().unwrap().port()).unwrap());
    }
}
