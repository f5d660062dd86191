//! The programs that tests use, all from the distribution: servers, load generators, an emulator.

use std::{path::Path, process::Command};

use crate::{
    exec,
    kernels::{EMULATOR, KEYRING},
};

/// Program and the package that has it.
const TOOLS: [(&str, &str); 16] = [
    ("ab", "apache2-utils"),
    // The program without the service.
    ("apache2", "apache2-bin"),
    ("curl", "curl"),
    ("ethtool", "ethtool"),
    ("h2load", "nghttp2-client"),
    ("haproxy", "haproxy"),
    ("hey", "hey"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("nghttpd", "nghttp2-server"),
    ("nginx", "nginx"),
    ("node", "nodejs"),
    ("openssl", "openssl"),
    ("promtool", "prometheus"),
    ("python3", "python3"),
    ("wrk", "wrk"),
];

/// Module of the distribution's Python and the package that has it.
const MODULES: [(&str, &str); 3] = [
    ("grpc", "python3-grpcio"),
    ("h2", "python3-h2"),
    ("websockets", "python3-websockets"),
];

/// The one that sees the distribution's modules, whichever comes first on the `PATH`.
const PYTHON: &str = "/usr/bin/python3";

/// The packages of those that are not there.
pub(super) fn missing_packages() -> Vec<&'static str> {
    let tools = TOOLS
        .iter()
        .filter(|(program, _)| exec::which(program).is_none());
    let modules = MODULES.iter().filter(|(module, _)| {
        exec::output(Command::new(PYTHON).args(["-c", &format!("import {module}")])).is_none()
    });
    tools.chain(modules).map(|(_, package)| *package).collect()
}

/// The packages that fetching and booting other kernels takes and that are not there.
pub(super) fn missing_for_kernels() -> Vec<&'static str> {
    let mut packages = Vec::new();
    if exec::which(EMULATOR).is_none() {
        packages.push("qemu-system-x86");
    }
    if !Path::new(KEYRING).exists() {
        packages.push("debian-archive-keyring");
    }
    packages
}
