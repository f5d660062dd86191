//! Builds the initramfs: all files of the emulated machine, in a cpio archive that the kernel unpacks into its memory
//! (<https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>).

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use cpio::newc;

use super::debian::Kernel;
use crate::{
    cargo::{FIXTURES_PACKAGE, Workspace},
    exec,
};

/// The packages of the programs, their names, and their paths in the machine: the kernel starts `/init`, which starts the
/// others.
pub(super) const PROGRAMS: [(&str, &str, &str); 3] = [
    ("ebb-kernel-check", "ebb-kernel-check", "/init"),
    (FIXTURES_PACKAGE, "ebb-sample", "/bin/ebb-sample"),
    (
        FIXTURES_PACKAGE,
        "ebb-test-scripted",
        "/bin/ebb-test-scripted",
    ),
];
pub(super) const PROGRAM_FOLDER: &str = "/bin";

/// The folder in which `/init` finds the modules to load.
const MODULE_FOLDER: &str = "/modules";

/// File mode of a folder.
const FOLDER: u32 = 0o040_755;
/// File mode of a program.
const PROGRAM: u32 = 0o100_755;
/// File mode of a file that is not a program.
const PLAIN: u32 = 0o100_644;

/// Writes the initramfs of a kernel into `folder` and returns its path.
pub(super) fn initramfs(workspace: &Workspace, kernel: &Kernel, folder: &Path) -> Result<PathBuf> {
    let mut files = Vec::new();
    let mut libraries = BTreeSet::new();
    for (_, name, to) in PROGRAMS {
        files.push((
            to.to_owned(),
            stripped(&workspace.bin_dir().join(name), folder)?,
            PROGRAM,
        ));
        libraries.extend(libraries_of(&workspace.bin_dir().join(name))?);
    }
    for library in libraries {
        files.push((library.display().to_string(), library, PROGRAM));
    }
    for module in &kernel.modules {
        let name = module.file_name().unwrap_or_default().display();
        files.push((format!("{MODULE_FOLDER}/{name}"), module.clone(), PLAIN));
    }

    let path = folder.join(format!("{}.cpio", kernel.version));
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    let mut archive = Archive::new(BufWriter::new(file));
    for (to, from, mode) in files {
        let content = fs::read(&from).with_context(|| from.display().to_string())?;
        archive
            .add(&to, mode, &content)
            .with_context(|| to.clone())?;
    }
    archive
        .finish()
        .with_context(|| path.display().to_string())?;
    Ok(path)
}

/// Copies a program without its debug information, which is most of its size.
fn stripped(program: &Path, folder: &Path) -> Result<PathBuf> {
    let to = folder.join(program.file_name().unwrap_or_default());
    // strip is part of binutils, which linking requires anyway.
    exec::run(Command::new("strip").arg("-o").arg(&to).arg(program))?;
    Ok(to)
}

/// Returns the shared libraries of a program, and the dynamic loader.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>> {
    let list = exec::output(Command::new("ldd").arg(program))
        .with_context(|| format!("ldd {} failed", program.display()))?;
    let libraries: Vec<_> = list.lines().filter_map(library).collect();
    if libraries.is_empty() {
        bail!("ldd names no library of {}: {list:?}", program.display());
    }
    Ok(libraries)
}

/// Parses a line of ldd such as `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f…)` or `/lib64/ld-linux-x86-64.so.2
/// (0x7f…)`; the kernel's own `linux-vdso.so.1` has no file.
fn library(line: &str) -> Option<PathBuf> {
    let (path, _address) = line.trim().rsplit_once(" (")?;
    let path = path.rsplit_once("=> ").map_or(path, |(_, path)| path);
    path.starts_with('/').then(|| path.into())
}

/// A cpio archive in which a file's folders come before the file, as the kernel requires.
struct Archive<W: Write> {
    writer: W,
    folders: Vec<PathBuf>,
}

impl<W: Write> Archive<W> {
    fn new(writer: W) -> Self {
        Self {
            writer,
            folders: Vec::new(),
        }
    }

    fn add(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let mut folders: Vec<_> = Path::new(path).ancestors().skip(1).collect();
        folders.reverse();
        // The first folder is `/`, which exists already.
        for folder in folders.into_iter().skip(1) {
            if !self.folders.iter().any(|known| known == folder) {
                self.folders.push(folder.to_owned());
                self.entry(&folder.display().to_string(), FOLDER, &[])?;
            }
        }
        self.entry(path, mode, content)
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        let mut entry = newc::Builder::new(path.trim_start_matches('/'))
            .mode(mode)
            .write(&mut self.writer, size);
        entry.write_all(content)?;
        entry.finish()?;
        Ok(())
    }

    fn finish(self) -> io::Result<()> {
        newc::trailer(self.writer)?.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_ldd() {
        let path = |line| library(line).map(|path| path.display().to_string());
        assert_eq!(
            path("\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f55cf81e000)").as_deref(),
            Some("/lib/x86_64-linux-gnu/libc.so.6")
        );
        assert_eq!(
            path("\t/lib64/ld-linux-x86-64.so.2 (0x00007f55cff38000)").as_deref(),
            Some("/lib64/ld-linux-x86-64.so.2")
        );
        assert_eq!(path("\tlinux-vdso.so.1 (0x00007f55cff36000)"), None);
        assert_eq!(path("\tstatically linked"), None);
    }

    #[test]
    fn folders_come_once_and_before_their_files() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);
        archive.add("/lib/a/one", PROGRAM, b"1").unwrap();
        archive.add("/lib/a/two", PLAIN, b"22").unwrap();
        archive.finish().unwrap();
        let mut names = Vec::new();
        let mut rest = bytes.as_slice();
        loop {
            let reader = newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            names.push(reader.entry().name().to_owned());
            rest = reader.finish().unwrap();
        }
        assert_eq!(names, ["lib", "lib/a", "lib/a/one", "lib/a/two"]);
    }
}
