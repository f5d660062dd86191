//! A directory in a bpffs that keeps maps, programs and links alive while no process holds them.
//!
//! ```text
//! /sys/fs/bpf/ebb/            locked by the agent that uses it
//!   v1/                       one layout of the maps (ebb_abi::LAYOUT)
//!     maps/PODS …             every map, also the program arrays: the kernel empties an array that is not held
//!     programs/5f0c…/…        the programs of one build; of two builds during an update
//!     pods/17/http1_ingress … the four links of the cgroup in slot 17
//! ```
//!
//! Nothing is stored besides what the kernel needs anyway, so no copy can become inconsistent: a pod's cgroup and
//! programs are read from its links, and its rules from the maps.
//!
//! A directory of the same layout whose maps have other shapes, for example from a build between two releases, is
//! replaced like one of another layout.
//!
//! Bias: towards continuing to count. Everything that can be adopted is adopted. Failure mode: what a killed process
//! has written only partly is removed, and its cgroup is counted from zero; it had never been reported.

mod directory;
mod error;
mod pods;
mod remove;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use ebb_abi::LAYOUT;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

pub use self::error::PinsError;
pub(crate) use self::pods::Kept;
use crate::kernel;

/// Name of a build's directory until all programs are pinned in it.
const UNFINISHED: &str = "unfinished";

/// What must match between pins and a process that adopts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Layout of the maps. Pins of another layout are replaced.
    pub layout: u32,
    /// Build of the programs. Programs of another build are replaced in their links. Must be a file name without dots.
    pub build: String,
}

impl Version {
    /// Returns the version of this program. Only tests use another.
    #[must_use]
    pub fn current() -> Self {
        Self {
            layout: LAYOUT,
            build: kernel::build(),
        }
    }
}

/// The locked directory of pins.
#[derive(Debug)]
pub struct Pins {
    root: PathBuf,
    version: Version,
    /// The kernel releases the lock when the process ends, however it ends.
    _lock: Flock<File>,
}

impl Pins {
    /// Locks the directory, and creates it if it is missing.
    ///
    /// # Errors
    /// It is not in a bpffs, other users than root have access to it, another process has locked it, or it cannot be
    /// created.
    pub fn open(root: &Path) -> Result<Self, PinsError> {
        Self::open_as(root, Version::current())
    }

    /// Like [`Pins::open`], as another version. For tests.
    ///
    /// # Errors
    /// As [`Pins::open`].
    pub fn open_as(root: &Path, version: Version) -> Result<Self, PinsError> {
        // The nearest existing ancestor is checked: in another file system nothing may be created.
        let there = root
            .ancestors()
            .find(|path| path.exists())
            .unwrap_or(Path::new("/"));
        let kind = statfs(there)
            .map_err(|errno| PinsError::io("look at", there)(errno.into()))?
            .filesystem_type();
        if kind != BPF_FS_MAGIC {
            return Err(PinsError::NotBpffs { path: root.into() });
        }
        let directory = directory::open(root)?;
        let lock =
            Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
                match errno {
                    Errno::EWOULDBLOCK => PinsError::InUse { path: root.into() },
                    errno => PinsError::io("lock", root)(errno.into()),
                }
            })?;
        Ok(Self {
            root: root.into(),
            version,
            _lock: lock,
        })
    }

    /// Returns the directory of the layout's maps.
    pub(crate) fn maps(&self) -> PathBuf {
        self.layout().join("maps")
    }

    /// Returns the directory of this build's programs.
    pub(crate) fn programs(&self) -> PathBuf {
        self.all_programs().join(&self.version.build)
    }

    fn all_programs(&self) -> PathBuf {
        self.layout().join("programs")
    }

    fn all_pods(&self) -> PathBuf {
        self.layout().join("pods")
    }

    fn layout(&self) -> PathBuf {
        self.root.join(format!("v{}", self.version.layout))
    }

    /// Creates the missing directories.
    pub(crate) fn make(&self) -> Result<(), PinsError> {
        [self.maps(), self.all_programs(), self.all_pods()]
            .iter()
            .try_for_each(|path| fs::create_dir_all(path).map_err(PinsError::io("make", path)))
    }

    /// Pins this build's programs in a directory that gets its final name when all are pinned. Some programs do not
    /// exist on every kernel, so a missing file would not show an incomplete directory.
    pub(crate) fn replace_programs<E: From<PinsError>>(
        &self,
        pin: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let (unfinished, programs) = (self.all_programs().join(UNFINISHED), self.programs());
        remove::remove(&unfinished)?;
        remove::remove(&programs)?;
        fs::create_dir(&unfinished).map_err(PinsError::io("make", &unfinished))?;
        pin(&unfinished)?;
        fs::rename(&unfinished, &programs).map_err(PinsError::io("rename", &unfinished))?;
        Ok(())
    }
}

/// True if all these names are pinned in a directory.
pub(crate) fn has_all<'a>(directory: &Path, names: impl IntoIterator<Item = &'a str>) -> bool {
    names.into_iter().all(|name| directory.join(name).exists())
}

/// Returns the names in a directory; none if it does not exist.
fn names(directory: &Path) -> Result<Vec<String>, PinsError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(PinsError::io("list", directory))?,
    };
    entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()
        .map_err(PinsError::io("list", directory))
}
