//! A test's requirements on the machine, checked before the test runs.
//!
//! Bias: towards running. A need is unmet only if the test could not possibly pass. A missing program of our own is a
//! reason to skip only if `EBB_BIN_DIR` is not set; with `EBB_BIN_DIR` it is a failure, so that a broken build cannot turn
//! a suite into skips.

use super::net::{NetNs, loses_packets};
use super::{cgroup, find, full};

/// One requirement of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Root and a cgroup v2.
    Cgroup,
    /// Root with the right to load programs, and a cgroup v2.
    Kernel,
    /// The right to mount, in the test run's own mount namespace.
    Mounts,
    /// The test run's own network, with addresses for pods.
    #[cfg(feature = "cluster")]
    Network,
    /// A real Kubernetes control plane: present, and the double not requested.
    ControlPlane,
    /// `kubectl`.
    Kubectl,
    /// The `ebb` program, and root with the right to load programs on a cgroup v2.
    Ebb,
    /// A third-party program, by its name on the `PATH`.
    Tool(&'static str),
    /// An npm package.
    Npm(&'static str),
    /// A Python with a third-party module.
    Python(&'static str),
    /// A packet filter that can drop packets at random, in a network namespace.
    Loss,
    /// IPv6 packets longer than 64 KiB (Linux 5.19), in a network namespace.
    BigTcp,
    /// `/dev/net/tun`, and the ability to create a network namespace.
    Tun,
    /// The long variants are requested.
    Full,
}

impl Need {
    /// # Errors
    /// If the machine does not meet the need: why, in one line.
    pub fn check(self) -> Result<(), String> {
        match self {
            Self::Cgroup => cgroup(),
            Self::Kernel => kernel(),
            Self::Mounts if capabilities() & bit(21) == 0 => Err("no CAP_SYS_ADMIN".to_owned()),
            Self::Mounts => Ok(()),
            #[cfg(feature = "cluster")]
            Self::Network if crate::cluster::network::is_private() => Ok(()),
            #[cfg(feature = "cluster")]
            Self::Network => Err("no network namespace of the test run's own".to_owned()),
            Self::ControlPlane => control_plane(),
            Self::Kubectl => match find::kubectl() {
                Some(_) => Ok(()),
                None => Err("kubectl is neither in KUBEBUILDER_ASSETS nor on the PATH".to_owned()),
            },
            Self::Ebb => ebb(),
            Self::Tool(name) => match find::tool(name) {
                Some(_) => Ok(()),
                None => Err(format!(
                    "{name} is not installed (cargo xtask setup --tests)"
                )),
            },
            Self::Npm(package) if find::npm(package).is_dir() => Ok(()),
            Self::Npm(package) => Err(format!(
                "no {package} of npm's (cargo xtask setup --tests, with npm on the PATH)"
            )),
            Self::Full if full() => Ok(()),
            Self::Full => Err("only with EBB_TEST_FULL=1".to_owned()),
            Self::Python(module) => match find::python(module) {
                Some(_) => Ok(()),
                None => Err(format!(
                    "no Python with {module} (cargo xtask setup --tests)"
                )),
            },
            Self::Loss => {
                for tool in ["ip", "nft", "ethtool"] {
                    Self::Tool(tool).check()?;
                }
                cgroup().and_then(|()| loses_packets())
            }
            Self::BigTcp => {
                Self::Tool("ip").check()?;
                cgroup().and_then(|()| NetNs::new().big_tcp())
            }
            Self::Tun => {
                Self::Tool("ip").check()?;
                cgroup()?;
                if std::path::Path::new("/dev/net/tun").exists() {
                    Ok(())
                } else {
                    Err("no /dev/net/tun".to_owned())
                }
            }
        }
    }
}

fn cgroup() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("not root".to_owned());
    }
    match cgroup::v2_mount() {
        Some(_) => Ok(()),
        None => Err("no cgroup v2 is mounted".to_owned()),
    }
}

fn ebb() -> Result<(), String> {
    if std::env::var_os("EBB_BIN_DIR").is_none() && !find::program("ebb").exists() {
        return Err("ebb is not built (cargo build, or set EBB_BIN_DIR)".to_owned());
    }
    kernel()
}

fn kernel() -> Result<(), String> {
    cgroup()?;
    let missing: Vec<_> = CAPABILITIES
        .iter()
        .filter(|(bits, _)| capabilities() & bits == 0)
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("no {}", missing.join(", no ")))
    }
}

fn control_plane() -> Result<(), String> {
    if std::env::var("EBB_TEST_CLUSTER").as_deref() == Ok("double") {
        return Err(
            "only a real control plane can show it, and EBB_TEST_CLUSTER=double".to_owned(),
        );
    }
    match find::control_plane() {
        Some(_) => Ok(()),
        None => Err(format!(
            "only a real control plane can show it, and there is none in KUBEBUILDER_ASSETS or {}",
            find::KUBEBUILDER
        )),
    }
}

const fn bit(capability: u32) -> u64 {
    1 << capability
}

/// Numbers from `include/uapi/linux/capability.h`; CAP_SYS_ADMIN (21) includes CAP_BPF (39).
const CAPABILITIES: [(u64, &str); 2] = [
    (bit(39) | bit(21), "CAP_BPF"),
    (bit(12) | bit(21), "CAP_NET_ADMIN"),
];

/// The effective capabilities of this process.
fn capabilities() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}
