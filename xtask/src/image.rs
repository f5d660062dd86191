//! `cargo xtask image`: builds an OCI image of the cluster's programs, in one file.
//!
//! The programs are static, so the image contains no libraries that could be out of date. Buildah builds the image
//! without a container engine or a daemon, and keeps its working files beside the image.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build,
    cargo::{self, IMAGE_PACKAGES, Workspace},
    exec, say, setup,
};

/// The program that builds the image. Its package in Debian has the same name.
const BUILDAH: &str = "buildah";

/// Time limit of one buildah command. It copies some megabytes, so a command that takes 600 s is stuck.
const LIMIT: Duration = Duration::from_secs(600);

pub(crate) fn run() -> Result<ExitCode> {
    if exec::which(BUILDAH).is_none() {
        bail!("{BUILDAH}, which builds the image, is not installed (apt-get install {BUILDAH})");
    }
    setup::toolchain()?;
    let workspace = Workspace::find()?;
    say::begin("building the programs, static (release profile)");
    let start = Instant::now();
    let programs = build_static(&workspace)?;
    say::done("programs built", start.elapsed());

    let folder = workspace.image_dir();
    let context = folder.join("context");
    // The folder is removed first, because the programs of an earlier build may have had other names.
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&context).with_context(|| format!("cannot create {}", context.display()))?;
    for program in &programs {
        let name = program.file_name().context("a program has no file name")?;
        fs::copy(program, context.join(name))
            .with_context(|| format!("cannot copy {}", program.display()))?;
    }
    say::begin("putting the image together");
    let start = Instant::now();
    let archive = folder.join("ebb.tar");
    assemble(&workspace, &folder, &context, &archive)?;
    say::done("image built", start.elapsed());
    println!("{}", archive.display());
    Ok(ExitCode::SUCCESS)
}

/// Builds static programs: Rust's own libraries and glibc are linked statically. The target is given explicitly,
/// although it is the host's target, so that the flags apply to the programs only, and not to procedural macros, which
/// the compiler, a dynamically linked program, must be able to load.
fn build_static(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let host = cargo::host()?;
    let variable = format!(
        "CARGO_TARGET_{}_RUSTFLAGS",
        host.to_uppercase().replace('-', "_")
    );
    let given = env::var(&variable).unwrap_or_default();
    let flags = format!("{given} -C target-feature=+crt-static");
    build::programs(workspace, &IMAGE_PACKAGES, |cargo| {
        cargo.args(["--target", &host]).env(&variable, flags.trim());
    })
}

fn assemble(workspace: &Workspace, folder: &Path, context: &Path, archive: &Path) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("ebb:{version}");
    let buildah = || {
        let mut command = Command::new(BUILDAH);
        command.arg("--root").arg(folder.join("storage"));
        command.arg("--runroot").arg(folder.join("run"));
        // The driver `vfs` needs no privileges and no support by the kernel.
        command.args(["--storage-driver", "vfs"]);
        command
    };
    let mut build = buildah();
    build.args(["build", "--layers=false", "--isolation", "chroot"]);
    // With a fixed timestamp, the same programs give the same image.
    build.args(["--timestamp", "0", "--tag", &name, "--file"]);
    build.arg(workspace.root.join("Dockerfile")).arg(context);
    let log = folder.join("buildah.log");
    exec::watched("buildah build", &mut build, &log, LIMIT)?;
    let mut push = buildah();
    push.args(["push", &name]);
    push.arg(format!("oci-archive:{}:{name}", archive.display()));
    exec::watched("buildah push", &mut push, &log, LIMIT)?;
    for leftover in ["storage", "run", "context"] {
        fs::remove_dir_all(folder.join(leftover)).ok();
    }
    Ok(())
}
