//! A server and a client, each in its own network namespace, and a cable between them.

use std::net::{IpAddr, Ipv4Addr};

use super::{Faults, NetNs, Relay};

/// The server's address.
pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1));
/// The client's address.
pub const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 2));

/// Device name of the cable's ends, in both namespaces.
pub(super) const CABLE: &str = "cable";

/// Two namespaces and a cable.
#[derive(Debug)]
pub struct Pair {
    /// The server's namespace.
    pub server: NetNs,
    /// The client's namespace.
    pub client: NetNs,
}

impl Pair {
    fn unconnected() -> Self {
        Self {
            server: NetNs::new(),
            client: NetNs::new(),
        }
    }

    /// Connected by a veth pair.
    ///
    /// # Panics
    /// If it cannot be created.
    #[must_use]
    pub fn veth() -> Self {
        let pair = Self::unconnected();
        let other = pair.client.path();
        pair.server.run(
            "ip",
            &format!("link add {CABLE} type veth peer name {CABLE} netns {other}"),
        );
        for (namespace, address) in pair.ends() {
            namespace.run("ip", &format!("address add {address}/24 dev {CABLE}"));
            namespace.run("ip", &format!("link set {CABLE} up"));
        }
        pair
    }

    /// Connected by a relay that produces a cable's faults.
    ///
    /// # Panics
    /// If it cannot be created.
    #[must_use]
    pub fn relayed(faults: Faults, seed: u64) -> (Self, Relay) {
        let pair = Self::unconnected();
        let relay = Relay::start(&pair.server, &pair.client, faults, seed);
        for ((namespace, address), (_, peer)) in
            pair.ends().into_iter().zip(pair.ends().into_iter().rev())
        {
            namespace.run(
                "ip",
                &format!("address add {address} peer {peer} dev {CABLE}"),
            );
            namespace.run("ip", &format!("link set {CABLE} up"));
        }
        (pair, relay)
    }

    /// Drops this percentage of packets on ingress, at both ends.
    ///
    /// # Panics
    /// If the kernel cannot do so (the test's needs include it).
    pub fn lose(&self, percent: u32) {
        for (namespace, _) in self.ends() {
            if let Err(said) = lose(namespace, CABLE, percent) {
                panic!("{said}");
            }
        }
    }

    /// Sets the cable's MTU.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn mtu(&self, bytes: u32) {
        for (namespace, _) in self.ends() {
            namespace.run("ip", &format!("link set {CABLE} mtu {bytes}"));
        }
    }

    /// Sets segmentation and merging of packets by the devices, for example "tso off gso off gro off".
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn offloads(&self, which: &str) {
        for (namespace, _) in self.ends() {
            namespace.run("ethtool", &format!("-K {CABLE} {which}"));
        }
    }

    fn ends(&self) -> [(&NetNs, IpAddr); 2] {
        [(&self.server, SERVER), (&self.client, CLIENT)]
    }
}

/// Drops packets on ingress, as a cable would: a drop on egress is an error that TCP sees.
fn lose(namespace: &NetNs, device: &str, percent: u32) -> Result<(), String> {
    for rule in [
        "add table netdev loss".to_owned(),
        format!(
            "add chain netdev loss in {{ type filter hook ingress device {device} priority 0 ; }}"
        ),
        format!("add rule netdev loss in numgen random mod 100 < {percent} drop"),
    ] {
        namespace
            .try_run("nft", &rule)
            .map_err(|said| format!("nft {rule}: {said}"))?;
    }
    Ok(())
}

/// Whether this kernel has what [`Pair::lose`] needs.
pub(in crate::harness) fn loses_packets() -> Result<(), String> {
    lose(&NetNs::new(), "lo", 1)
}
