//! Removes pins, in an order that never leaves a program running with missing maps.

use std::{fs, io, path::Path};

use super::{Pins, PinsError, names};

impl Pins {
    /// Removes all pins and the directory. After that, no cgroup is counted.
    ///
    /// # Errors
    /// A file or directory cannot be removed.
    pub fn remove(self) -> Result<(), PinsError> {
        self.remove_other_layouts()?;
        self.remove_own_layout()?;
        match fs::remove_dir(&self.root) {
            // `DirectoryNotEmpty` is not an error: the directory contains files of other programs.
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                Err(PinsError::io("remove", &self.root)(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes the pins of other map layouts, and returns the names of these layouts. Cgroups that were counted with
    /// these pins are no longer counted.
    pub(crate) fn remove_other_layouts(&self) -> Result<Vec<String>, PinsError> {
        let mine = self.layout();
        let mut removed = names(&self.root)?;
        // Only Ebb's names are removed: the directory may be /sys/fs/bpf itself, where other programs pin objects, too.
        removed.retain(|name| is_layout(name) && self.root.join(name) != mine);
        for name in &removed {
            remove_layout(&self.root.join(name))?;
        }
        Ok(removed)
    }

    /// Removes the pins of this build's map layout.
    pub(crate) fn remove_own_layout(&self) -> Result<(), PinsError> {
        remove_layout(&self.layout())
    }

    /// Removes the programs of other builds and returns the names of these builds. All links must have this build's
    /// programs already.
    pub(crate) fn remove_other_programs(&self) -> Result<Vec<String>, PinsError> {
        let mut removed = names(&self.all_programs())?;
        removed.retain(|build| *build != self.version.build);
        for build in &removed {
            remove(&self.all_programs().join(build))?;
        }
        Ok(removed)
    }
}

fn is_layout(name: &str) -> bool {
    name.strip_prefix('v')
        .is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Removes the pins of one map layout. Links are removed first: while a program is attached, its program arrays must be
/// complete.
fn remove_layout(layout: &Path) -> Result<(), PinsError> {
    remove(&layout.join("pods"))?;
    remove(&layout.join("programs"))?;
    remove(layout)
}

/// Removes a file, or a directory with its contents. A missing path is not an error.
pub(super) fn remove(path: &Path) -> Result<(), PinsError> {
    let result = match fs::symlink_metadata(path) {
        Ok(file) if file.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(PinsError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
