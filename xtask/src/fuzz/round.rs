//! One fuzzer, run for a while.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};

use crate::exec;

/// Longest input, bytes: a few packets, and what surrounds them.
const LONGEST: u32 = 4096;

/// What one input may take, s: thousands of times what any should.
const ONE_INPUT: u32 = 10;

/// Time that starting, reading what was kept and ending may take on top.
const MARGIN: Duration = Duration::from_secs(120);

/// A fuzzer and what becomes of it.
pub(crate) struct Round {
    /// The target's name.
    pub(crate) name: String,
    /// The program.
    pub(super) program: PathBuf,
    /// Where what it learns is kept.
    pub(super) corpus: PathBuf,
    /// Where its findings go.
    pub(super) findings: PathBuf,
    /// What it found.
    pub(super) found: Option<PathBuf>,
}

impl Round {
    /// Whether nothing was found.
    pub(crate) fn is_good(&self) -> bool {
        self.found.is_none()
    }

    /// Runs it. An error is one of its surroundings; a finding is none.
    pub(super) fn run(mut self, seconds: u64) -> Result<Self> {
        fs::create_dir_all(&self.findings)
            .with_context(|| format!("cannot create {}", self.findings.display()))?;
        let start = SystemTime::now();
        let mut command = Command::new(&self.program);
        command
            .arg(&self.corpus)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={LONGEST}"))
            .arg(format!("-timeout={ONE_INPUT}"))
            // The end of the separator makes it a folder.
            .arg(format!("-artifact_prefix={}/", self.findings.display()));
        let ran = exec::watched(
            &format!("fuzzing {} for {seconds} s", self.name),
            &mut command,
            &exec::log(&format!("fuzz-{}", self.name)),
            Duration::from_secs(seconds) + MARGIN,
        );
        if let Err(error) = ran {
            self.found = newest(&self.findings, start);
            if self.found.is_none() {
                return Err(error);
            }
        }
        Ok(self)
    }
}

impl fmt::Display for Round {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(found) = &self.found else {
            return write!(formatter, "{}: nothing found", self.name);
        };
        write!(
            formatter,
            "{}: found {}; to see it again: {} {}; once it is understood, keep it in fuzz/found/{}",
            self.name,
            found.display(),
            self.program.display(),
            found.display(),
            self.name
        )
    }
}

/// The newest file of a folder that is not older than this.
fn newest(dir: &Path, since: SystemTime) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    let dated = entries.filter_map(|entry| {
        let written = entry.metadata().ok()?.modified().ok()?;
        (written >= since).then(|| (written, entry.path()))
    });
    dated.max().map(|(_, path)| path)
}
