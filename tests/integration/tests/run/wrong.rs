//! Invalid input to `ebb run`: one line names the cause and the allowed values, and nothing is left behind.

use std::fs::{self, Permissions};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use ebb_fixtures::{Case, Need, Process, ebb, program, run};

use crate::refused::{Rejection, assert_refused};

const EBB: &[Need] = &[Need::Ebb];

pub(super) const CASES: &[Case] = &[
    Case::beside("run::wrong_usage_is_named", EBB, usage),
    Case::beside("run::bad_annotations_are_named", EBB, annotations),
    Case::beside("run::bad_config_is_named", EBB, config),
    Case::beside("run::commands_that_fail_are_named", EBB, commands),
    Case::beside("run::port_in_use_is_named", EBB, port_in_use),
    Case::beside("run::errors_nobody_reads", &[], nobody_reads),
    Case::beside("run::not_root_is_named", EBB, not_root),
    Case::beside(
        "run::no_cgroup_v2_is_named",
        &[Need::Ebb, Need::Tool("unshare"), Need::Tool("umount")],
        no_cgroup_v2,
    ),
];

/// The last arguments of `ebb run`: a valid command that starts a replica.
const FINE: [&str; 3] = ["--", "sleep", "60"];

/// Asserts that `ebb run` rejects `arguments`. The port is 0 unless the arguments contain one.
#[track_caller]
fn refused(arguments: &[&str], how: &Rejection<'_>) {
    let port: &[&str] = if arguments.contains(&"--port") {
        &[]
    } else {
        &["--port", "0"]
    };
    assert_refused(ebb::command([&["run"], port, arguments].concat()), how);
}

fn usage() {
    refused(&[], &Rejection::usage(&[]));
    refused(
        &[&["--no-such-option"][..], &FINE].concat(),
        &Rejection::usage(&["--no-such-option"]),
    );
    refused(
        &[&["--start-timeout", "soon"][..], &FINE].concat(),
        &Rejection::usage(&["--start-timeout", "soon"]),
    );
    for option in ["--port", "--page-port"] {
        for port in ["70000", "-1", "http", ""] {
            refused(
                &[&[option, port][..], &FINE].concat(),
                &Rejection::usage(&[option, port, "0 to 65535"]),
            );
        }
    }
}

fn annotations() {
    for (annotation, names) in [
        ("autoscaling.knative.dev/target=-1", &["target", "-1"]),
        ("autoscaling.knative.dev/window=60", &["window", "60"]),
        ("autoscaling.knative.dev/window=1s", &["window", "6s"]),
        (
            "autoscaling.knative.dev/no-such-key=1",
            &["no-such-key", "unknown"],
        ),
        (
            "autoscaling.knative.dev/min-scale=many",
            &["min-scale", "many"],
        ),
        ("ebb.dev/no-such-key=1", &["ebb.dev/no-such-key", "unknown"]),
        ("ebb.dev/hard-limit=-1", &["-1", "0 to 1000"]),
        ("ebb.dev/hard-limit=1001", &["hard-limit", "1001"]),
        ("ebb.dev/hard-limit=10m", &["hard-limit", "10m"]),
        ("ebb.dev/hard-limit=", &["hard-limit", "whole number"]),
    ] {
        refused(
            &[&["--annotation", annotation][..], &FINE].concat(),
            &Rejection::input(names),
        );
    }
    refused(
        &[&["--target", "-1"][..], &FINE].concat(),
        &Rejection::input(&["target", "-1"]),
    );
    refused(
        &[&["--min-scale", "3", "--max-scale", "2"][..], &FINE].concat(),
        &Rejection::input(&["min-scale", "max-scale"]),
    );
}

fn config() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.yaml");
    let path = file.to_str().expect("a path in UTF-8");
    let with_config = [&["--config", path][..], &FINE].concat();
    refused(&with_config, &Rejection::input(&[path]));
    for (text, names) in [
        ("stable-window: 60", &["stable-window", "60"]),
        ("no-such-key: 1", &["no-such-key", "unknown"]),
        ("[", &[path, ""]),
    ] {
        fs::write(&file, text).expect("written");
        refused(&with_config, &Rejection::input(names));
    }
}

fn commands() {
    for (command, names) in [
        (&["/no/such/command"][..], &["/no/such/command"][..]),
        (&["/etc/passwd"], &["/etc/passwd"]),
        (&["false"], &["false"]),
        (&["sh", "-c", "exit 7"], &["sh", "7"]),
        (&["sleep", "60"], &["sleep", "1s"]),
    ] {
        let arguments = [
            &["--min-scale", "1", "--start-timeout", "1s", "--"],
            command,
        ]
        .concat();
        refused(&arguments, &Rejection::input(names));
    }
}

fn port_in_use() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener
        .local_addr()
        .expect("its address")
        .port()
        .to_string();
    for option in ["--port", "--page-port"] {
        refused(
            &[&[option, &port][..], &FINE].concat(),
            &Rejection::input(&[&port]),
        );
    }
}

fn nobody_reads() {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    let mut command = ebb::command(["top", "no-url"]);
    command.stdin(Stdio::null()).stderr(writer);
    let end = Process::start(command, None).wait(run::SOON);
    assert_eq!(end.code(), Some(1));
}

fn not_root() {
    // Copies `ebb` to a separate folder, because the build's folder may be readable only by root.
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("ebb");
    fs::copy(program("ebb"), &copy).expect("a copy of ebb");
    for path in [folder.path(), &copy] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("permissions");
    }
    let mut command = Command::new(copy);
    // 65534 is the id of the user `nobody` and of the group `nogroup`.
    command
        .uid(65534)
        .gid(65534)
        .args(["run", "--port", "0"])
        .args(FINE);
    assert_refused(command, &Rejection::input(&["root"]));
}

fn no_cgroup_v2() {
    // Runs `ebb` in a mount namespace without cgroup v2.
    let script = "umount --all --types cgroup2 && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(program("ebb"))
        .args(["run", "--port", "0"])
        .args(FINE);
    assert_refused(command, &Rejection::input(&["cgroup v2"]));
}
