//! Installs packages of Debian and of the distributions based on it.
//!
//! Bias towards a machine that stays as it is: only new files are added. No service of these packages is started or enabled, and
//! no installed package is removed to resolve a conflict.

use std::{process::Command, time::Duration};

use anyhow::{Result, bail};

use crate::{exec, root::Root, setup::log};

/// The script that installs packages. One root shell runs the whole script, so sudo asks once, and the file
/// `policy-rc.d`, which prevents the start of services, is removed even on Ctrl-C.
///
/// `policy-rc.d` with exit 101 is Debian's way to prevent maintainer scripts from starting services
/// (`/usr/share/doc/init-system-helpers/README.policy-rc.d.gz`). An existing `policy-rc.d` stays unchanged. A failed
/// `apt-get update` is not fatal, because often only an unrelated repository cannot be reached.
///
/// If the packages cannot be installed from the release, they are installed from its backports. The cause can be an
/// installed package from the backports that conflicts with a package from the release (`qemu-utils` breaks an older
/// emulator).
const SCRIPT: &str = r#"
set -eu
made=
trap 'rm -f $made' EXIT
trap 'exit 130' INT TERM HUP
guard=/usr/sbin/policy-rc.d
if [ ! -e "$guard" ]; then
    made=$guard
    printf '#!/bin/sh\nexit 101\n' >"$guard"
    chmod 755 "$guard"
fi
export DEBIAN_FRONTEND=noninteractive
from=
get() { apt-get $from --option DPkg::Lock::Timeout=120 --option Acquire::Retries=3 "$@"; }
install() { get "$@" install --yes --no-install-recommends --no-remove $packages; }
packages=$*
get update || echo "apt-get update failed: continuing with the existing package lists"
if ! install --simulate >/dev/null; then
    echo "these packages cannot be installed from this release: trying its backports"
    . /etc/os-release
    sources=$(mktemp)
    made="$made $sources"
    cat /etc/apt/sources.list >"$sources" 2>/dev/null || true
    echo "deb http://deb.debian.org/debian $VERSION_CODENAME-backports main" >>"$sources"
    from="--option Dir::Etc::SourceList=$sources --target-release $VERSION_CODENAME-backports"
    get update
fi
install
for package in $packages; do
    # The services of these packages must not start at the next boot either.
    case "$package" in haproxy | nginx | prometheus) update-rc.d "$package" disable || true ;; esac
done
"#;

/// Time limit for a few hundred megabytes over a slow connection.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Installs packages with apt-get. `root` is a function that obtains root rights; it is called only if apt-get exists.
pub(super) fn install(packages: &[&str], root: &dyn Fn() -> Result<Root>) -> Result<()> {
    let list = packages.join(" ");
    if exec::which("apt-get").is_none() {
        bail!("cannot install {list}: there is no apt-get");
    }
    let root = root()?;
    let mut command = root.command("sh");
    command.args(["-c", SCRIPT, "sh"]).args(packages);
    exec::watched(
        &format!("installing {list}"),
        &mut command,
        &log("apt"),
        LIMIT,
    )
}

/// Returns whether a package is completely installed.
pub(super) fn is_installed(package: &str) -> bool {
    exec::output(Command::new("dpkg-query").args([
        "--show",
        "--showformat=${db:Status-Status}",
        package,
    ]))
    .is_some_and(|status| status == "installed")
}
