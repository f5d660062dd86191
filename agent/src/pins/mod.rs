//! A directory in a bpffs that keeps maps, programs and links alive while no process holds them.
//!
//! ```text
//! /sys/fs/bpf/ebb/            locked by the agent that uses it
//!   v1/                       one layout of the maps (ebb_abi::LAYOUT)
//!     maps/PODS …             all maps; the kernel empties a program array that has neither a pin nor a descriptor
//!     programs/5f0c…/…        the programs of the build 5f0c…; during an update, there are two such directories
//!     pods/17-86…/connections one of the four links of a cgroup: 17 is its slot, 86… the start of its counting in ns
//! ```
//!
//! Only kernel objects are stored, and no other data, so there is no second copy that could become inconsistent. A
//! pod's cgroup and programs are read from its links, and its rules from the maps.
//!
//! Pins are replaced if their maps have another layout than this build's maps. They are also replaced if the layout has
//! the same number but the maps have other types or sizes, for example maps of a build between two releases.
//!
//! Bias: towards continuing to count. Everything that can be adopted is adopted. Failure mode: if a process was killed
//! while it pinned the links of a cgroup, the incomplete slot is removed, and the cgroup is counted from zero. No
//! reported count is lost, because no count of this cgroup was reported before.

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
pub(crate) use self::pods::PinnedSlot;
use crate::kernel;

/// Temporary name of the directory of a build's programs, until all programs are pinned.
const UNFINISHED: &str = "unfinished";

/// The version of the pins that a process uses: the layout of the maps, and the build of the programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Layout of the maps. Pins with another layout are replaced.
    pub layout: u32,
    /// Name of the build of the programs. If a pinned link has a program of another build, it gets the program of this
    /// build. The name must be a valid file name without dots.
    pub build: String,
}

impl Version {
    /// Returns the version of the pins of this program. Only tests use other versions.
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
    /// The lock on the directory. The kernel releases it when the process ends, even if it is killed.
    _lock: Flock<File>,
}

impl Pins {
    /// Locks the directory, and creates it if it is missing.
    ///
    /// # Errors
    /// The directory is not in a bpffs, users other than root have access to it, another process has locked it, or it
    /// cannot be created.
    pub fn open(root: &Path) -> Result<Self, PinsError> {
        Self::open_as(root, Version::current())
    }

    /// Like [`Pins::open`], for pins of the given version and not of this program's version. For tests.
    ///
    /// # Errors
    /// As [`Pins::open`].
    pub fn open_as(root: &Path, version: Version) -> Result<Self, PinsError> {
        // The file system of the nearest existing ancestor is checked before anything is created: outside a bpffs
        // nothing may be created.
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

    /// Returns the directory with the pinned maps of this build's layout.
    pub(crate) fn maps(&self) -> PathBuf {
        self.layout().join("maps")
    }

    /// Returns the directory with the pinned programs of this build.
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

    /// Creates the directories for maps, programs and links if they are missing.
    pub(crate) fn make(&self) -> Result<(), PinsError> {
        [self.maps(), self.all_programs(), self.all_pods()]
            .iter()
            .try_for_each(|path| fs::create_dir_all(path).map_err(PinsError::io("make", path)))
    }

    /// Pins this build's programs. The directory gets its final name after all programs are pinned, so an incomplete
    /// directory is recognised by its name. It cannot be recognised by missing files, because some programs do not load
    /// on every kernel.
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

/// Returns whether a directory has a pin for each of these names.
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
