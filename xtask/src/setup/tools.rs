//! Finds the programs that tests use (servers, load generators, an emulator), all from the distribution.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    exec,
    kernels::{EMULATOR, KEYRING},
    say,
    setup::log,
};

/// Programs, as tuples (program, package that contains it).
const TOOLS: [(&str, &str); 17] = [
    ("ab", "apache2-utils"),
    // `apache2-bin` contains the program without the service.
    ("apache2", "apache2-bin"),
    ("chromium", "chromium"),
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

/// Python modules, as tuples (module, package that contains it).
const MODULES: [(&str, &str); 7] = [
    ("grpc", "python3-grpcio"),
    ("gunicorn", "python3-gunicorn"),
    ("h2", "python3-h2"),
    ("httptools", "python3-httptools"),
    ("hypercorn", "python3-hypercorn"),
    ("uvicorn", "python3-uvicorn"),
    ("websockets", "python3-websockets"),
];

/// The distribution's Python. Another Python on `PATH` would not find the modules of the distribution.
const PYTHON: &str = "/usr/bin/python3";

/// Returns the packages of the tools that are missing.
pub(super) fn missing_packages() -> Vec<&'static str> {
    let tools = TOOLS
        .iter()
        .filter(|(program, _)| exec::which(program).is_none());
    let modules = MODULES.iter().filter(|(module, _)| {
        exec::output(Command::new(PYTHON).args(["-c", &format!("import {module}")])).is_none()
    });
    tools.chain(modules).map(|(_, package)| *package).collect()
}

/// Returns the missing packages that are required to fetch and boot other kernels.
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

/// npm packages that tests use: a checker of a page's accessibility, and Grafana's own types with the compiler that
/// checks a dashboard against them.
const NPM: [&str; 3] = ["axe-core@4", "@grafana/schema@11", "typescript@5"];

/// Fetches the missing npm packages into the cache. Without npm, the tests that use these packages are skipped.
pub(super) fn npm_packages() -> Result<()> {
    let folder = ebb_ebpf_build::cache_dir().join("npm");
    let is_there = |package: &&str| {
        let name = package.rsplit_once('@').map_or(*package, |(name, _)| name);
        folder.join("node_modules").join(name).is_dir()
    };
    if NPM.iter().all(is_there) {
        return Ok(());
    }
    if exec::which("npm").is_none() {
        say::note(
            "there is no npm: tests of the page's accessibility and of Grafana's types will be skipped",
        );
        return Ok(());
    }
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--prefix",
    ])
    .arg(&folder)
    .args(NPM);
    exec::watched("fetching npm packages", &mut npm, &log("npm"), NPM_LIMIT)
}

/// Time limit for fetching about 40 MB of npm packages.
const NPM_LIMIT: Duration = Duration::from_secs(5 * 60);
