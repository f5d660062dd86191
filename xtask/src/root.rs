//! The one place where root is asked for.
//!
//! Installing packages and loading kernel programs need it. Whoever is root already notices
//! nothing; anyone else is told what it is for, and sudo asks once (it remembers for a while).

use std::{
    ffi::OsStr,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{exec, say};

/// The right to run programs as root.
pub(crate) struct Root {
    sudo: Option<PathBuf>,
}

impl Root {
    /// Asks for root, saying what for.
    ///
    /// # Errors
    /// Not root and no sudo, or sudo refused.
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
        // stdin stays: without a terminal of its own sudo reads the password there.
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

    /// Whether this is root without any help.
    pub(crate) fn is_already() -> bool {
        nix::unistd::geteuid().is_root()
    }

    /// A program that will run as root. Through sudo it gets a fresh environment.
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

    /// The same as words to put before a command line, for tools that take a "runner".
    pub(crate) fn runner(&self) -> Option<String> {
        self.sudo
            .as_ref()
            .map(|sudo| format!("{} --preserve-env", sudo.display()))
    }
}
