//! The steps of a test run, cheap ones first.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::{count::Counts, fuzz, kernels, leftovers, words};
use crate::{
    cargo::{self, CLUSTER, INTEGRATION, KERNEL_PACKAGE, Workspace},
    exec,
    root::Root,
    say, setup,
};

/// Which API server the end-to-end tests use: `double` or `real`.
const BACK_END: &str = "EBB_TEST_CLUSTER";

/// Where envtest's tools put the programs of a control plane.
const KUBEBUILDER: &str = "/usr/local/kubebuilder/bin";

/// One thing to try.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) run: fn(&Workspace) -> Result<Counts>,
}

/// What is run, in order. The integration tests need root and a kernel; `quick` leaves them out.
pub(super) fn plan(quick: bool) -> Vec<Step> {
    let step = |name, run| Step { name, run };
    let mut plan = vec![
        step("set-up", set_up as fn(&Workspace) -> Result<Counts>),
        step("formatting", formatting),
        step("words that users read", words::check),
        step("programs build, kernel side included", build),
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

/// Not a failure: the tests that lack a tool are skipped, and each says what it lacks.
fn test_tools(_: &Workspace) -> Result<Counts> {
    Ok(match setup::test_tools() {
        Ok(()) => Counts::one(true),
        Err(error) => Counts::skipped(format!("test tools: {error:#}")),
    })
}

fn formatting(workspace: &Workspace) -> Result<Counts> {
    check(workspace.cargo(["fmt", "--all", "--check"]))
}

/// Once, before anything is run: the integration tests start these programs.
fn build(workspace: &Workspace) -> Result<Counts> {
    check(workspace.cargo([
        "build",
        "--workspace",
        "--bins",
        "--exclude",
        KERNEL_PACKAGE,
    ]))
}

fn lints(workspace: &Workspace) -> Result<Counts> {
    let mut cargo = workspace.cargo(["clippy", "--workspace", "--all-targets"]);
    cargo.args(["--exclude", KERNEL_PACKAGE, "--", "--deny", "warnings"]);
    check(cargo)
}

/// With the host's clippy and for the host, since the compilers that build these programs bring none.
/// What the BPF target gives them has to be stood in for: unstable features and panics that abort. In a
/// folder of its own, for these settings would have everything else built again.
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
    // Advisories change without a change here and come from the network: not what says whether this
    // checkout is good.
    check(workspace.cargo(["deny", "check", "bans", "licenses", "sources"]))
}

/// All but the integration tests, of the same packages as those: cargo unites the features of what
/// it is asked for, and another selection would build the dependencies another time.
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

/// Everywhere: the API server is a part of the tests.
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

/// A test program that loads kernel programs.
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
                    // As cargo spells it in variables.
                    let host = cargo::host()?.to_uppercase().replace('-', "_");
                    cargo.env(format!("CARGO_TARGET_{host}_RUNNER"), runner);
                }
            }
            // The harness skips what it cannot do, with its reason.
            Err(error) => say::note(&format!("{error:#}")),
        }
    }
    tests(&mut cargo)
}

/// A program that says yes or no.
fn check(mut command: Command) -> Result<Counts> {
    Ok(Counts::one(exec::status(&mut command)?.success()))
}

/// Test runners: their output goes on, counted line by line.
fn tests(command: &mut Command) -> Result<Counts> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let stdout = child.stdout.take().context("the tests have no output")?;
    let mut counts = Counts::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("cannot read what the tests print")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        counts.read(&line);
    }
    let status = child.wait().context("cannot wait for the tests")?;
    Ok(counts.settle(status.success()))
}
