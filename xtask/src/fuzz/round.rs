//! Runs one fuzzer for a limited time.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};

use crate::exec;

/// Longest input in bytes: a few packets and their headers.
const LONGEST: u32 = 4096;

/// Time limit for one input of a fuzzer, in seconds: thousands of times the expected time.
const ONE_INPUT: u32 = 10;

/// Time that a run may take in addition to the fuzzing time: for its start, reading the corpus, and its end.
const MARGIN: Duration = Duration::from_secs(120);

/// One run of a fuzzer, and its result.
pub(crate) struct Round {
    /// The target's name.
    pub(crate) name: String,
    /// The path of the fuzzer.
    pub(super) program: PathBuf,
    /// The folder of the inputs that reach new code.
    pub(super) corpus: PathBuf,
    /// The folder of findings: inputs that caused a failure.
    pub(super) findings: PathBuf,
    /// The finding of this run, if any.
    pub(super) found: Option<PathBuf>,
}

impl Round {
    /// Returns whether the run has no finding.
    pub(crate) fn is_good(&self) -> bool {
        self.found.is_none()
    }

    /// Runs the fuzzer. A finding is not an error; an error means that the fuzzer could not run.
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
            // libFuzzer takes the prefix as a folder only if it ends with `/`.
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
            "{}: finding: {}; to reproduce it: {} {}; after the fix, keep the file in fuzz/found/{}",
            self.name,
            found.display(),
            self.program.display(),
            found.display(),
            self.name
        )
    }
}

/// Returns the newest file of a folder that is not older than `since`.
fn newest(dir: &Path, since: SystemTime) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    let dated = entries.filter_map(|entry| {
        let written = entry.metadata().ok()?.modified().ok()?;
        (written >= since).then(|| (written, entry.path()))
    });
    dated.max().map(|(_, path)| path)
}
