//! Free ports for replicas.
//!
//! A port is found free, released, and taken by the replica a moment later; in between, another program may take it. The most
//! likely taker is the kernel, for outgoing connections, and under load there are many of them. So ports are
//! chosen outside the kernel's range for those, and no port is used again before all others have been used.
//!
//! Failure mode: another program takes the port in between. Then the replica cannot listen, and [`is_taken`] detects it.

use std::{
    fs,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener},
    ops::RangeInclusive,
    process,
};

/// Lowest port: ports below it belong to well-known services on many hosts.
const LOWEST: u16 = 10_000;
/// Smallest size of the range: as many replicas as a host can run need a port each.
const FEWEST: u16 = 1_000;

/// Hands out ports, each once until all have been used.
#[derive(Debug)]
pub(crate) struct Ports {
    range: RangeInclusive<u16>,
    next: u16,
}

impl Ports {
    /// Uses the ports outside the kernel's range for outgoing connections.
    pub(crate) fn new() -> Ports {
        let range = outside(ephemeral().unwrap_or(32_768..=60_999));
        let size = range.end() - range.start() + 1;
        // Runs side by side start at different ports.
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
    /// If no port is free, or if sockets cannot be made at all.
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

/// Whether a program listens on the port, on any address of IPv4 or IPv6.
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

/// The kernel's range for the local port of outgoing connections.
fn ephemeral() -> Option<RangeInclusive<u16>> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut bounds = text.split_whitespace().map(str::parse);
    Some(bounds.next()?.ok()?..=bounds.next()?.ok()?)
}

/// Returns the larger part of the unprivileged ports outside `ephemeral`; all of them if too few are left.
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
