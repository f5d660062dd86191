//! The check of one port: whether its listening socket was created in a cgroup.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use super::{
    OutsideListener, Problem,
    cgroups::{self, Location, Subtree},
    processes::{self, Process},
    sock_diag::{self, Listener},
};

/// Looks for a socket that accepts connections to 127.0.0.1 at `port` in the network namespace of this thread, and that
/// was created outside the cgroup and its descendants. Unlike a scan of the cgroup, this finds the socket whatever
/// process holds it, for example a daemon outside that serves on behalf of a command.
///
/// # Errors
/// The reason why this cannot be checked.
pub(crate) fn on_port(port: u16, cgroup: &Path) -> Result<Option<OutsideListener>, Problem> {
    let listeners = sock_diag::listeners().map_err(Problem::SockDiag)?;
    // The subtree is read after the sockets, so that it contains the cgroup of each socket that was created inside.
    let subtree = Subtree::read(cgroup).map_err(|source| Problem::Cgroup {
        path: cgroup.to_owned(),
        source,
    })?;
    for listener in listeners {
        if listener.port != port || !serves_loopback(listener.address) {
            continue;
        }
        let id = listener.cgroup.ok_or(Problem::NoCgroup)?;
        if !subtree.ids.contains(&id) {
            let location = cgroups::locate(&HashSet::from([id])).remove(&id);
            return Ok(Some(OutsideListener {
                port,
                holder: holder(&listener, &subtree),
                cgroup: id,
                location: location.unwrap_or(Location::NotFound),
            }));
        }
    }
    Ok(None)
}

/// Returns whether a socket that listens at `address` can accept connections to 127.0.0.1.
fn serves_loopback(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_unspecified() || address == Ipv4Addr::LOCALHOST
}

/// Returns a process of the cgroup that holds the socket. Processes that cannot be inspected are skipped.
fn holder(listener: &Listener, subtree: &Subtree) -> Option<Process> {
    let holds = |pid: u32| {
        let mut held = false;
        let read = processes::sockets(pid, |inode| held |= inode == listener.inode);
        read.is_ok() && held
    };
    let mut processes = subtree.processes.iter().copied();
    processes.find(|pid| holds(*pid)).map(Process::named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_accept_connections_to_127_0_0_1() {
        for (address, serves) in [
            ("0.0.0.0", true),
            ("127.0.0.1", true),
            ("::", true),
            ("::ffff:127.0.0.1", true),
            ("::ffff:0.0.0.0", true),
            ("127.0.0.2", false),
            ("::1", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(
                serves_loopback(address.parse().unwrap()),
                serves,
                "{address}"
            );
        }
    }
}
