//! Checks that the commands in `docs/security.md` print the output that the document shows.

use std::path::Path;
use std::process::Command;

use ebb_e2e::manifests;
use ebb_fixtures::{Case, Need, kubectl};

use super::installed;

pub(crate) const CASES: &[Case] = &[Case::beside(
    "trust::t9_security_md_says_what_kubectl_says",
    &[Need::ControlPlane, Need::Kubectl],
    commands,
)];

/// The lines that begin and end a block of commands in the document.
const BEGIN: &str = "```console";
const END: &str = "```";

/// A command, and the lines that it must print.
struct Example {
    command: String,
    prints: Vec<String>,
}

fn examples(text: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut within = false;
    for line in text.lines() {
        match line {
            BEGIN => within = true,
            END => within = false,
            _ if !within => {}
            _ => match (line.strip_prefix("$ "), examples.last_mut()) {
                (Some(command), _) => examples.push(Example {
                    command: command.to_owned(),
                    prints: Vec::new(),
                }),
                (None, Some(example)) => example.prints.push(line.to_owned()),
                (None, None) => panic!("no command before {line:?}"),
            },
        }
    }
    examples
}

fn commands() {
    let cluster = installed();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, cluster.api().kubeconfig()).unwrap();
    let kubectl = kubectl().expect("it is asked for");
    let programs = kubectl.parent().expect("a folder");
    let text = std::fs::read_to_string(manifests::file("docs/security.md")).unwrap();
    let examples = examples(&text);
    assert!(examples.len() > 20, "{} commands", examples.len());
    let wrong: Vec<_> = examples
        .iter()
        .filter_map(|example| {
            let printed = run(&example.command, programs, &kubeconfig);
            (printed != example.prints).then_some((&example.command, printed))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Returns the lines that a command prints to stdout and stderr. The exit code is ignored: it is not 0 if kubectl
/// prints `no`.
fn run(command: &str, programs: &Path, kubeconfig: &Path) -> Vec<String> {
    let output = Command::new("sh")
        .args(["-c", &format!("({command}) 2>&1")])
        .env("PATH", programs_first(programs))
        .env("KUBECONFIG", kubeconfig)
        .current_dir(manifests::file(""))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(str::to_owned).collect()
}

fn programs_first(programs: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [programs.to_owned()]
        .into_iter()
        .chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap()
}
