//! A directory in a bpffs that keeps maps, programs and links alive while no process does.
//!
//! ```text
//! /sys/fs/bpf/ebb/            locked by the one agent that uses it
//!   v1/                       one layout of the maps (ebb_common::abi::LAYOUT)
//!     maps/PODS …             every map, the program arrays too: the kernel empties one that nobody holds
//!     programs/5f0c…/…        the programs of one build; for a moment, those of two
//!     pods/17/http1_ingress … the four links of the cgroup in slot 17
//! ```
//!
//! Nothing is kept beside what the kernel needs anyway, so nothing can disagree with it: a pod's cgroup and
//! the programs it has are asked of its links, its rules are read back from the maps.
//!
//! A directory of the same layout whose maps have other shapes all the same, as of a build between two releases, is
//! replaced like one of another layout.
//!
//! Biased towards counting on: what can be adopted is. What was written halfway by a process that was
//! killed is removed, and its cgroup counted anew; it had never been reported.

mod directory;
mod error;
mod pods;
mod remove;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use ebb_common::abi::LAYOUT;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

pub use self::error::PinsError;
pub(crate) use self::pods::Kept;
use crate::kernel;

/// The name of a build's directory until all of its programs are in it.
const UNFINISHED: &str = "unfinished";

/// What pins must agree in with a process that adopts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Of the maps. Pins of another one are replaced.
    pub layout: u32,
    /// Of the programs. Those of another one are exchanged in their links. Must be a file name without dots.
    pub build: String,
}

impl Version {
    /// That of this program. Only a test has reason for another.
    #[must_use]
    pub fn current() -> Self {
        Self {
            layout: LAYOUT,
            build: kernel::build(),
        }
    }
}

/// The directory of pins, locked.
#[derive(Debug)]
pub struct Pins {
    root: PathBuf,
    version: Version,
    /// The kernel lets go of it when the process ends, however it ends.
    _lock: Flock<File>,
}

impl Pins {
    /// Takes the directory, making it where it is not there.
    ///
    /// # Errors
    /// If it is not in a bpffs, somebody else than root may use it, another process has it, or it cannot be made.
    pub fn open(root: &Path) -> Result<Self, PinsError> {
        Self::open_as(root, Version::current())
    }

    /// The same, pretending to be another version. For tests.
    ///
    /// # Errors
    /// As [`Pins::open`].
    pub fn open_as(root: &Path, version: Version) -> Result<Self, PinsError> {
        // Looked for where it is going to be: in another file system nothing is to be made at all.
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

    /// Where the layout's maps are.
    pub(crate) fn maps(&self) -> PathBuf {
        self.layout().join("maps")
    }

    /// Where this build's programs are.
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

    /// Makes the directories that are not there.
    pub(crate) fn make(&self) -> Result<(), PinsError> {
        [self.maps(), self.all_programs(), self.all_pods()]
            .iter()
            .try_for_each(|path| fs::create_dir_all(path).map_err(PinsError::io("make", path)))
    }

    /// Has this build's programs pinned in a directory that gets its name when they all are: some programs are
    /// not on every kernel, so that one that is missing does not show.
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

/// Whether all of these are pinned in a directory.
pub(crate) fn has_all<'a>(directory: &Path, names: impl IntoIterator<Item = &'a str>) -> bool {
    names.into_iter().all(|name| directory.join(name).exists())
}

/// The names in a directory; none where it is not there.
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
