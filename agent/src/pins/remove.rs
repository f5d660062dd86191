//! Taking pins away, in the order that leaves no program running on maps that are gone.

use std::{fs, io, path::Path};

use super::{Pins, PinsError, names};

impl Pins {
    /// Takes away all there is, and the directory: nothing is counted any more.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn remove(self) -> Result<(), PinsError> {
        self.remove_other_layouts()?;
        self.remove_own_layout()?;
        match fs::remove_dir(&self.root) {
            // Somebody has put something of his own there.
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                Err(PinsError::io("remove", &self.root)(error))
            }
            _ => Ok(()),
        }
    }

    /// Takes away what other layouts have left: their cgroups are no longer counted. Answers their names.
    pub(crate) fn remove_other_layouts(&self) -> Result<Vec<String>, PinsError> {
        let mine = self.layout();
        let mut removed = names(&self.root)?;
        // Nothing but what can only be ours: someone may have named /sys/fs/bpf itself, where others pin too.
        removed.retain(|name| is_layout(name) && self.root.join(name) != mine);
        for name in &removed {
            remove_layout(&self.root.join(name))?;
        }
        Ok(removed)
    }

    /// Takes away all of the own layout.
    pub(crate) fn remove_own_layout(&self) -> Result<(), PinsError> {
        remove_layout(&self.layout())
    }

    /// Takes away the programs of other builds; the links must have those of this one by now. Answers
    /// the builds.
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

/// Links go first, so that no program is left that would find its program arrays empty.
fn remove_layout(layout: &Path) -> Result<(), PinsError> {
    remove(&layout.join("pods"))?;
    remove(&layout.join("programs"))?;
    remove(layout)
}

/// Removes a file, or a directory with all in it. That it is not there is as good.
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
