//! The one place that requests root.
//!
//! Installing packages and loading kernel programs require root. If the user is already root, nothing is requested.
//! Other users see the reason, and sudo asks for the password once (sudo remembers the password for some minutes).

use std::{
    ffi::OsStr,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{exec, say};

/// Permission to run programs as root.
pub(crate) struct Root {
    sudo: Option<PathBuf>,
}

impl Root {
    /// Requests root and shows the reason.
    ///
    /// # Errors
    /// Returns an error if the user is not root, and sudo is missing or refuses.
    pub(crate) fn ask(reason: &str) -> Result<Self> {
        if nix::unistd::geteuid().is_root() {
            return Ok(Self { sudo: None });
        }
        let Some(sudo) = exec::which("sudo") else {
            bail!("root is needed to {reason}: there is no sudo here, so run this command as root");
        };
        say::note(&format!(
            "root is needed to {reason}; sudo may ask for your password"
        ));
        // stdin is inherited: without a terminal, sudo reads the password from it.
        let status = Command::new(&sudo)
            .arg("--validate")
            .stdin(Stdio::inherit())
            .status()
            .with_context(|| format!("cannot start {}", sudo.display()))?;
        if !status.success() {
            bail!("root is needed to {reason}, and sudo refused");
        }
        Ok(Self { sudo: Some(sudo) })
    }

    /// Returns whether this process is already root.
    pub(crate) fn is_already() -> bool {
        nix::unistd::geteuid().is_root()
    }

    /// Returns a command that runs `program` as root. With sudo, the program gets a fresh environment.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match &self.sudo {
            None => Command::new(program),
            Some(sudo) => {
                let mut command = Command::new(sudo);
                command.arg("--").arg(program);
                command
            }
        }
    }

    /// Returns the prefix that makes a command line run as root with this environment, for tools that accept a
    /// "runner". Returns `None` if the user is already root.
    pub(crate) fn runner(&self) -> Option<String> {
        self.sudo
            .as_ref()
            .map(|sudo| format!("{} --preserve-env", sudo.display()))
    }
}
