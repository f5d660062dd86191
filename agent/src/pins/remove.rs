//! Removes pins, in an order that never leaves a program running with missing maps.

use std::{fs, io, path::Path};

use super::{Pins, PinsError, names};

impl Pins {
    /// Removes all pins and the directory: nothing is counted any more.
    ///
    /// # Errors
    /// A file or directory cannot be removed.
    pub fn remove(self) -> Result<(), PinsError> {
        self.remove_other_layouts()?;
        self.remove_own_layout()?;
        match fs::remove_dir(&self.root) {
            // The directory contains files that are not Ebb's.
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                Err(PinsError::io("remove", &self.root)(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes other layouts: their cgroups are no longer counted. Returns their names.
    pub(crate) fn remove_other_layouts(&self) -> Result<Vec<String>, PinsError> {
        let mine = self.layout();
        let mut removed = names(&self.root)?;
        // Only names that must be Ebb's: the user may have named /sys/fs/bpf itself, where other programs pin, too.
        removed.retain(|name| is_layout(name) && self.root.join(name) != mine);
        for name in &removed {
            remove_layout(&self.root.join(name))?;
        }
        Ok(removed)
    }

    /// Removes this build's layout.
    pub(crate) fn remove_own_layout(&self) -> Result<(), PinsError> {
        remove_layout(&self.layout())
    }

    /// Removes the programs of other builds; the links must have this build's programs by now. Returns the builds.
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

/// Removes links first, so that no running program finds its program arrays empty.
fn remove_layout(layout: &Path) -> Result<(), PinsError> {
    remove(&layout.join("pods"))?;
    remove(&layout.join("programs"))?;
    remove(layout)
}

/// Removes a file, or a directory with its contents. A missing path is fine.
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
