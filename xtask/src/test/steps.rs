//! The steps of a test run, cheap ones first.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::{count::Counts, crates, fuzz, kernels, leftovers, scripts, words};
use crate::{
    cargo::{self, CLUSTER, INTEGRATION, KERNEL_PACKAGE, Workspace},
    exec,
    root::Root,
    say, setup,
};

/// Environment variable that selects the API server of the end-to-end tests: `double` or `real`.
const BACK_END: &str = "EBB_TEST_CLUSTER";

/// The folder in which envtest's tools put the programs of a control plane.
const KUBEBUILDER: &str = "/usr/local/kubebuilder/bin";

/// One step of a test run.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) run: fn(&Workspace) -> Result<Counts>,
}

/// Returns the steps in order. The integration tests need root and a kernel; `quick` omits them.
pub(super) fn plan(quick: bool) -> Vec<Step> {
    let step = |name, run| Step { name, run };
    let mut plan = vec![
        step("set-up", set_up as fn(&Workspace) -> Result<Counts>),
        step("formatting", formatting),
        step("words that users read", words::check),
        step("syntax of the tests' scripts", scripts::check),
        step("crates have only allowed dependencies", crates::check),
        step("build of all programs, with the kernel programs", build),
        step("lints", lints),
        step("lints of the kernel programs", kernel_lints),
        step("dependencies and licences", dependencies),
        step("unit, property and doc tests", unit_tests),
    ];
    if !quick {
        plan.insert(1, step("test tools", test_tools));
        plan.push(step("fuzzing", fuzz::run));
        plan.push(step("integration tests", integration_tests));
        plan.push(step("end-to-end tests, API double", on_the_double));
        plan.push(step(
            "end-to-end tests, real control plane",
            on_a_control_plane,
        ));
        plan.push(step("other kernels", kernels::run));
    }
    plan
}

fn set_up(_: &Workspace) -> Result<Counts> {
    setup::toolchain().map(|()| Counts::one(true))
}

/// Installs the test tools. An error counts as skipped and not as failed: a test that lacks a tool is skipped, and
/// names the tool.
fn test_tools(_: &Workspace) -> Result<Counts> {
    Ok(match setup::test_tools() {
        Ok(()) => Counts::one(true),
        Err(error) => Counts::skipped(format!("test tools: {error:#}")),
    })
}

fn formatting(workspace: &Workspace) -> Result<Counts> {
    check(workspace.cargo(["fmt", "--all", "--check"]))
}

/// Builds all programs once, before any test runs: the integration tests start these programs. The same build
/// contains the tests: the tests enable features of some packages, and a separate build without these features would
/// build most packages a second time.
fn build(workspace: &Workspace) -> Result<Counts> {
    check(workspace.cargo([
        "build",
        "--workspace",
        "--bins",
        "--tests",
        "--exclude",
        KERNEL_PACKAGE,
    ]))
}

fn lints(workspace: &Workspace) -> Result<Counts> {
    let mut cargo = workspace.cargo(["clippy", "--workspace", "--all-targets"]);
    cargo.args(["--exclude", KERNEL_PACKAGE, "--", "--deny", "warnings"]);
    check(cargo)
}

/// Lints the kernel programs with the host's clippy and for the host, because the compilers that build these programs
/// have no clippy. Two environment variables replace properties of the BPF target: unstable features, and panics that
/// abort. The step uses a separate target folder, because these variables would cause a rebuild in the shared folder.
fn kernel_lints(workspace: &Workspace) -> Result<Counts> {
    let mut cargo = workspace.cargo(["clippy", "--package", KERNEL_PACKAGE]);
    cargo.arg("--target-dir").arg(workspace.kernel_lint_dir());
    cargo.args(["--", "--deny", "warnings"]);
    cargo
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_PROFILE_DEV_PANIC", "abort");
    check(cargo)
}

fn dependencies(workspace: &Workspace) -> Result<Counts> {
    if exec::output(&mut workspace.cargo(["deny", "--version"])).is_none() {
        let reason =
            "dependencies and licences: cargo-deny is not installed (cargo install cargo-deny)";
        return Ok(Counts::skipped(reason.to_owned()));
    }
    // Security advisories are not checked: they come from the network and change even if this checkout does not.
    check(workspace.cargo(["deny", "check", "bans", "licenses", "sources"]))
}

/// Runs all tests except the integration tests. It selects the same packages as for the integration tests: cargo
/// unifies the features of the selected packages, so another selection would build the dependencies again.
fn unit_tests(workspace: &Workspace) -> Result<Counts> {
    let mut cargo = test_command(workspace);
    cargo.args(["--lib", "--bins"]);
    for name in workspace
        .test_programs()
        .filter(|name| *name != INTEGRATION && *name != CLUSTER)
    {
        cargo.args(["--test", name]);
    }
    let mut counts = tests(&mut cargo)?;
    counts += &tests(test_command(workspace).arg("--doc"))?;
    Ok(counts)
}

fn test_command(workspace: &Workspace) -> Command {
    workspace.cargo([
        "test",
        "--workspace",
        "--exclude",
        KERNEL_PACKAGE,
        "--no-fail-fast",
    ])
}

fn integration_tests(workspace: &Workspace) -> Result<Counts> {
    as_root(workspace, INTEGRATION, |_| ())
}

/// Runs the end-to-end tests with an API server that is part of the tests, so this step runs on every machine.
fn on_the_double(workspace: &Workspace) -> Result<Counts> {
    as_root(workspace, CLUSTER, |cargo| {
        cargo.env(BACK_END, "double");
    })
}

fn on_a_control_plane(workspace: &Workspace) -> Result<Counts> {
    let folder =
        env::var_os("KUBEBUILDER_ASSETS").map_or_else(|| KUBEBUILDER.into(), PathBuf::from);
    if !folder.join("kube-apiserver").is_file() {
        return Ok(Counts::skipped(format!(
            "end-to-end tests, real control plane: no kube-apiserver in {} (KUBEBUILDER_ASSETS; setup-envtest gets one)",
            folder.display()
        )));
    }
    as_root(workspace, CLUSTER, |cargo| {
        cargo.env(BACK_END, "real");
    })
}

/// Runs a test program that loads kernel programs, as root if possible.
fn as_root(
    workspace: &Workspace,
    program: &str,
    prepare: impl FnOnce(&mut Command),
) -> Result<Counts> {
    let mut cargo = test_command(workspace);
    cargo.args(["--test", program]);
    prepare(&mut cargo);
    cargo.env("EBB_BIN_DIR", workspace.bin_dir());
    leftovers::mark(&mut cargo);
    if !Root::is_already() {
        match Root::ask("run tests that load kernel programs") {
            Ok(root) => {
                if let Some(runner) = root.runner() {
                    // The target triple in the form that cargo uses in names of environment variables.
                    let host = cargo::host()?.to_uppercase().replace('-', "_");
                    cargo.env(format!("CARGO_TARGET_{host}_RUNNER"), runner);
                }
            }
            // Without root, the test runner skips the tests that need root, and prints the reason.
            Err(error) => say::note(&format!("{error:#}")),
        }
    }
    tests(&mut cargo)
}

/// Runs a program and returns one check. The check passed if the exit status is 0.
fn check(mut command: Command) -> Result<Counts> {
    Ok(Counts::one(exec::status(&mut command)?.success()))
}

/// Runs test runners. Their output is printed, and tests are counted line by line.
fn tests(command: &mut Command) -> Result<Counts> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let stdout = child.stdout.take().context("the tests have no output")?;
    let mut counts = Counts::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("cannot read the output of the tests")?;
        let line = String::from_utf8_lossy(&line);
        if counts.read(&line) {
            println!("{line}");
        }
    }
    let status = child.wait().context("cannot wait for the tests")?;
    Ok(counts.settle(status.success()))
}
