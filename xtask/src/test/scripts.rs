//! Checks the syntax of the scripts of the tests. The tests pass them to an interpreter, so that without this step an error
//! would show only in the tests that use the script. The scripts of the live page are checked by the tests in a browser.

use std::process::Command;

use anyhow::Result;

use super::count::Counts;
use crate::{cargo::Workspace, exec, say};

/// A program that prints the error and fails if the file in its first argument is not valid Python. `py_compile` would
/// write a compiled file into the checkout.
const PARSE_PYTHON: &str = "import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])";

pub(super) fn check(workspace: &Workspace) -> Result<Counts> {
    let files = workspace.files(&["tests/*.py", "tests/*.js"])?;
    let mut counts = Counts::default();
    for name in &files {
        let (program, arguments): (_, &[&str]) = if name.ends_with(".py") {
            ("python3", &["-c", PARSE_PYTHON])
        } else {
            ("node", &["--check"])
        };
        if exec::output(Command::new(program).arg("--version")).is_none() {
            counts += &Counts::skipped(format!("syntax of {name}: {program} is not installed"));
            continue;
        }
        let mut command = Command::new(program);
        command
            .current_dir(&workspace.root)
            .args(arguments)
            .arg(name);
        let good = exec::status(&mut command)?.success();
        if !good {
            say::note(&format!("{name}: {program} cannot parse it"));
        }
        counts += &Counts::one(good);
    }
    Ok(counts)
}
