//! The meshes, and what each of them sets up in a pod: rules of the packet filter, and the user and the ports of the
//! sidecar.
//!
//! The rules are those of istio-iptables (<https://github.com/istio/istio/tree/master/tools/istio-iptables>) and of
//! Linkerd's proxy-init (<https://github.com/linkerd/linkerd2-proxy-init>), for IPv4.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ebb_fixtures::net::{NetNs, SERVER};

/// A mesh, and how it intercepts inbound connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mesh {
    IstioRedirect,
    IstioTproxy,
    Linkerd,
}

impl Mesh {
    /// Sets up the pod's network. `folder` takes the files with the rules.
    pub(super) fn intercept(self, pod: &NetNs, folder: &Path) {
        let rules: &[&str] = match self {
            Self::IstioRedirect => &[
                include_str!("istio_output.nft"),
                include_str!("istio_redirect.nft"),
            ],
            Self::IstioTproxy => &[
                include_str!("istio_output.nft"),
                include_str!("istio_tproxy.nft"),
            ],
            Self::Linkerd => &[include_str!("linkerd.nft")],
        };
        let path = folder.join("rules.nft");
        fs::write(&path, rules.concat()).expect("the rules");
        pod.run("nft", &format!("-f {}", path.display()));
        if self == Self::IstioTproxy {
            pod.run("ip", "rule add fwmark 1337 lookup 133");
            pod.run("ip", "route add local default dev lo table 133");
        }
    }

    /// Returns the lines of HAProxy's section `global` that choose the sidecar's user. In the mode TPROXY, Istio's
    /// sidecar runs as root, because it must open connections with addresses of clients.
    pub(super) fn user(self) -> &'static str {
        match self {
            Self::IstioRedirect => "uid 1337\n    gid 1337",
            Self::IstioTproxy => "gid 1337",
            Self::Linkerd => "uid 2102\n    gid 2102",
        }
    }

    /// Returns the port on which the sidecar accepts intercepted inbound connections.
    pub(super) fn inbound(self) -> u16 {
        match self {
            Self::IstioRedirect | Self::IstioTproxy => 15006,
            Self::Linkerd => 4143,
        }
    }

    /// Returns the port on which the sidecar accepts intercepted outbound connections.
    pub(super) fn outbound(self) -> u16 {
        match self {
            Self::IstioRedirect | Self::IstioTproxy => 15001,
            Self::Linkerd => 4140,
        }
    }

    /// Returns the ports to which a kubelet sends probes: the application's and, with Istio, those of its agent.
    pub(super) fn probes(self, app: u16) -> Vec<u16> {
        match self {
            Self::IstioRedirect | Self::IstioTproxy => vec![app, 15020, 15021],
            Self::Linkerd => vec![app],
        }
    }

    /// Returns the parameter of HAProxy's `source` for connections to an application at this address. Istio uses
    /// 127.0.0.6, and in the mode TPROXY the client's address.
    pub(super) fn source(self, app: IpAddr) -> &'static str {
        match self {
            _ if app.is_ipv6() => "",
            Self::IstioTproxy if !app.is_loopback() => "source 0.0.0.0 usesrc clientip",
            Self::IstioRedirect | Self::IstioTproxy => "source 127.0.0.6",
            Self::Linkerd => "",
        }
    }
}

/// The addresses on which applications listen.
pub(super) const LISTENING: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    SERVER,
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];
