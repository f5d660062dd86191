//! Opens the directory of pins. Only root may have access to it.
//!
//! The directory must belong to root and have mode 0700. A user who can open the directory can lock it, and so prevent
//! every agent of the node from counting. The owner of the directory can replace its contents.
//!
//! Bias: towards correcting the mode. A directory of root that other users may open, as older releases created it, gets
//! mode 0700. Failure mode: these are refused: a directory of another user, a symbolic link, and the root of a bpffs
//! that other users may open.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::{errno::Errno, fcntl::OFlag, unistd::geteuid};

use super::PinsError;

/// Mode of the directory: read, write and search for root, nothing for others.
const MODE: u32 = 0o700;
/// The mode bits for the group and for others.
const OTHERS: u32 = 0o077;

/// Opens the directory of pins; creates it if it is missing.
pub(super) fn open(root: &Path) -> Result<File, PinsError> {
    DirBuilder::new()
        .recursive(true)
        .mode(MODE)
        .create(root)
        .map_err(PinsError::io("make", root))?;
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let directory = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(root)
        .map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
            // With `O_DIRECTORY` and `O_NOFOLLOW`, Linux returns `ENOTDIR` for a symbolic link; POSIX specifies
            // `ELOOP`.
            Some(Errno::ELOOP | Errno::ENOTDIR) => PinsError::NoDirectory { path: root.into() },
            _ => PinsError::io("open", root)(error),
        })?;
    // The attributes are read from the open descriptor, because the path may name another directory since it was
    // opened.
    let found = directory
        .metadata()
        .map_err(PinsError::io("look at", root))?;
    if found.uid() != 0 && found.uid() != geteuid().as_raw() {
        return Err(PinsError::Foreign {
            path: root.into(),
            uid: found.uid(),
        });
    }
    if found.mode() & OTHERS == 0 {
        return Ok(directory);
    }
    if is_mount(root, found.dev())? {
        return Err(PinsError::Shared { path: root.into() });
    }
    directory
        .set_permissions(Permissions::from_mode(MODE))
        .map_err(PinsError::io("set the mode of", root))?;
    tracing::warn!(
        path = %root.display(),
        mode = format!("{:04o}", found.mode() & 0o7777),
        "other users could open the directory of pins and lock it: Ebb has set the mode of the directory to {MODE:04o}"
    );
    Ok(directory)
}

/// Returns whether a directory is the root of a file system. The mode of such a directory is not changed, because other
/// programs may pin objects in it, too.
fn is_mount(root: &Path, device: u64) -> Result<bool, PinsError> {
    let above: PathBuf = root.join("..");
    let above = fs::metadata(&above).map_err(PinsError::io("look at", above))?;
    Ok(above.dev() != device)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn t12_others_cannot_open_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("bpf/ebb");
        open(&root).unwrap();
        assert_eq!(mode(&root), MODE);
        fs::set_permissions(&root, Permissions::from_mode(0o1777)).unwrap();
        open(&root).unwrap();
        assert_eq!(mode(&root), MODE);
    }

    #[test]
    fn t12_a_link_and_a_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (there, link, file) = (
            folder.path().join("there"),
            folder.path().join("link"),
            folder.path().join("file"),
        );
        fs::create_dir(&there).unwrap();
        symlink(&there, &link).unwrap();
        let error = open(&link).unwrap_err();
        assert!(matches!(error, PinsError::NoDirectory { .. }), "{error}");
        fs::write(&file, "").unwrap();
        assert!(open(&file).is_err());
    }

    /// Without root, the test ends early: only root can change the owner of a directory.
    #[test]
    fn t12_a_directory_of_somebody_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("ebb");
        fs::create_dir(&root).unwrap();
        if chown(&root, Some(65_534), None).is_err() {
            return;
        }
        let error = open(&root).unwrap_err();
        assert!(
            matches!(error, PinsError::Foreign { uid: 65_534, .. }),
            "{error}"
        );
    }
}
