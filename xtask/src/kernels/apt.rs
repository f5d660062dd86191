//! Runs apt with separate folders: the package state of the system is neither used nor changed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::debian::{Release, files_below};
use crate::exec;

/// The package that depends on the newest kernel of a release. It is the `cloud` variant, which is small and
/// sufficient.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// Mirrors of Debian: the mirror of current releases, and the archive of old releases.
const MIRRORS: [&str; 2] = [
    "http://deb.debian.org/debian",
    "http://archive.debian.org/debian",
];

/// The keys with which Debian signs, from the package `debian-archive-keyring`.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Time limit for about 10 MB of package lists or up to 60 MB of packages over a slow connection.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// apt for one Debian release, with its own folders for package lists, the cache and packages.
pub(super) struct Apt<'a> {
    release: &'a Release,
    folder: PathBuf,
}

impl<'a> Apt<'a> {
    pub(super) fn new(release: &'a Release, folder: &Path) -> Result<Self> {
        for below in ["state/lists/partial", "cache/archives/partial", "packages"] {
            create(&folder.join(below))?;
        }
        // An empty dpkg status file tells apt that no package is installed.
        fs::write(folder.join("status"), "").context("cannot write apt's status file")?;
        Ok(Self {
            release,
            folder: folder.to_owned(),
        })
    }

    /// Returns a command of apt that uses only the separate folders.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let folder = |below: &str| self.folder.join(below).display().to_string();
        for (option, value) in [
            ("APT::Architecture", "amd64".to_owned()),
            ("APT::Architectures", "amd64".to_owned()),
            ("APT::Sandbox::User", "root".to_owned()),
            ("APT::Update::Error-Mode", "any".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
            ("Acquire::Retries", "3".to_owned()),
            ("Dir::Cache", folder("cache")),
            ("Dir::Etc::SourceList", folder("sources.list")),
            ("Dir::Etc::SourceParts", "-".to_owned()),
            ("Dir::State", folder("state")),
            ("Dir::State::status", folder("status")),
        ] {
            command.arg("--option").arg(format!("{option}={value}"));
        }
        command.current_dir(self.folder.join("packages"));
        command
    }

    /// Fetches the release's package list.
    pub(super) fn update(&self) -> Result<()> {
        let mut last = Ok(());
        for mirror in MIRRORS {
            // check-valid-until=no is needed because the archive does not renew the signatures of old releases.
            let source = format!(
                "deb [arch=amd64 target=Packages check-valid-until=no signed-by={KEYRING}] {mirror} {} main\n",
                self.release.suite
            );
            fs::write(self.folder.join("sources.list"), source).context("the list of sources")?;
            let what = format!("reading the package list of Debian {}", self.release.suite);
            let mut command = self.command("apt-get");
            last = self.watched(&what, command.arg("update"));
            if last.is_ok() {
                break;
            }
        }
        last
    }

    /// Returns the packages of the newest kernel of the release.
    pub(super) fn kernel_packages(&self) -> Result<Vec<String>> {
        let mut newest = self.depends(META_PACKAGE)?.into_iter();
        let image = newest
            .find(|name| name.starts_with("linux-image-"))
            .with_context(|| format!("{META_PACKAGE} depends on no linux-image package"))?;
        // From Linux 7 on, the kernel's files are in packages on which the linux-image package depends.
        let parts = self
            .depends(&image)?
            .into_iter()
            .filter(|name| name.starts_with("linux-binary-") || name.starts_with("linux-modules-"));
        let mut packages: Vec<_> = parts.collect();
        packages.push(image);
        Ok(packages)
    }

    /// Returns the dependencies of a package: names, without versions and alternatives.
    fn depends(&self, package: &str) -> Result<Vec<String>> {
        let about =
            exec::output(
                self.command("apt-cache")
                    .args(["show", "--no-all-versions", package]),
            )
            .with_context(|| format!("Debian {} has no {package}", self.release.suite))?;
        let depends = about
            .lines()
            .find_map(|line| line.strip_prefix("Depends: "));
        let names = depends.unwrap_or_default().split(", ");
        Ok(names
            .filter_map(|name| name.split_whitespace().next())
            .map(str::to_owned)
            .collect())
    }

    /// Fetches packages and unpacks them into the folder `into`.
    pub(super) fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        let what = format!("fetching {}", packages.last().map_or("", String::as_str));
        let mut command = self.command("apt-get");
        self.watched(&what, command.arg("download").args(packages))?;
        create(into)?;
        let files = files_below(&self.folder.join("packages"));
        if files.len() != packages.len() {
            bail!(
                "{} packages requested, {} arrived",
                packages.len(),
                files.len()
            );
        }
        for file in files {
            exec::run(
                Command::new("dpkg-deb")
                    .arg("--extract")
                    .arg(file)
                    .arg(into),
            )?;
        }
        Ok(())
    }

    fn watched(&self, what: &str, command: &mut Command) -> Result<()> {
        let log = exec::log(&format!("kernel-{}", self.release.version));
        exec::watched(what, command, &log, LIMIT)
    }
}

pub(super) fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}
