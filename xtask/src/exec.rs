//! Runs other programs, with their output visible or in a log.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::say;

/// Interval between checks whether a watched program has ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Interval between messages that a watched program still runs, if stderr is not a terminal (a CI log).
const SAY_EVERY: Duration = Duration::from_secs(15);

/// Number of lines of the log that are shown when a watched program fails.
const TAIL: usize = 20;

/// Runs a program with its output visible.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("{} failed ({status})", display(command));
    }
    Ok(())
}

/// Runs a program with its output visible and returns its exit status, which the caller evaluates.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// Runs a program and writes its output to `log`. Shows the elapsed time, and the end of the log if the program fails.
/// Kills the program if it takes longer than `limit`.
pub(crate) fn watched(
    what: &str,
    command: &mut Command,
    log: &Path,
    limit: Duration,
) -> Result<()> {
    say::begin(what);
    if let Some(dir) = log.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let also = file.try_clone().context("cannot share the log")?;
    command.stdin(Stdio::null()).stdout(file).stderr(also);
    // Without a backtrace, the error of the program is at the end of the log.
    command.env_remove("RUST_BACKTRACE");

    let start = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let mut last_said = start;
    let status = loop {
        if let Some(status) = child.try_wait().context("cannot wait for it")? {
            break status;
        }
        if start.elapsed() > limit {
            child.kill().context("cannot end it")?;
            child.wait().context("cannot wait for it")?;
            clear();
            bail!(
                "{what}: not done after {}; its log is {}",
                say::duration(limit),
                log.display()
            );
        }
        if say::on_terminal() {
            eprint!(
                "\r\x1b[K  … {} {}",
                say::duration(start.elapsed()),
                last_line(log)
            );
            std::io::stderr().flush().ok();
        } else if last_said.elapsed() >= SAY_EVERY {
            last_said = Instant::now();
            say::note(&format!("… {}", say::duration(start.elapsed())));
        }
        thread::sleep(LOOK_EVERY);
    };
    clear();
    if !status.success() {
        for line in tail(log) {
            say::note(&line);
        }
        bail!(
            "{what}: {} failed ({status}); its log is {}",
            display(command),
            log.display()
        );
    }
    say::done(what, start.elapsed());
    Ok(())
}

/// Returns the stdout of a program, or `None` if the program does not exist or fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the path of the log file `name` of a watched program.
pub(crate) fn log(name: &str) -> PathBuf {
    ebb_ebpf_build::cache_dir()
        .join("log")
        .join(format!("{name}.log"))
}

/// Finds a program on `PATH`, or in the folders of programs for root, which not every `PATH` contains.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

fn clear() {
    if say::on_terminal() {
        eprint!("\r\x1b[K");
    }
}

/// Returns the program and its first argument, which identify the command.
fn display(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(
        command
            .get_args()
            .take(1)
            .map(|argument| argument.to_string_lossy()),
    );
    words.join(" ")
}

fn last_line(log: &Path) -> String {
    // Number of characters that fit beside the time on a terminal of 80 columns.
    const WIDTH: usize = 64;
    let line = tail(log).pop().unwrap_or_default();
    line.chars()
        .filter(|c| !c.is_control())
        .take(WIDTH)
        .collect()
}

fn tail(log: &Path) -> Vec<String> {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(TAIL))
        .map(|line| (*line).to_owned())
        .collect()
}
