//! Invalid input to `ebb watch`: one line names the cause, and the exit code is right.

use ebb_fixtures::{Case, Need, TestCgroup, ebb};

use crate::refused::{Rejection, assert_refused};

pub(super) const CASES: &[Case] = &[Case::beside(
    "watch::wrong_input_is_named",
    &[Need::Ebb],
    wrong,
)];

fn wrong() {
    let cgroup = TestCgroup::new();
    let here = cgroup.path().to_str().expect("a path in UTF-8");
    for (arguments, refused) in [
        (vec!["watch"], Rejection::usage(&["--cgroup"])),
        (
            vec!["watch", "--cgroup", "/nowhere"],
            Rejection::input(&["/nowhere"]),
        ),
        (
            vec!["watch", "--cgroup", "/tmp"],
            Rejection::input(&["/tmp", "cgroup"]),
        ),
        (
            vec!["watch", "--cgroup", here, "--ports", "0"],
            Rejection::usage(&["--ports", "0"]),
        ),
        (
            vec!["watch", "--cgroup", here, "--ports", "70000"],
            Rejection::usage(&["--ports", "70000"]),
        ),
        (
            vec!["watch", "--cgroup", here, "--interval", "0s"],
            Rejection::usage(&["--interval", "0s"]),
        ),
        (
            vec!["watch", "--cgroup", here, "--interval", "1"],
            Rejection::usage(&["--interval", "1"]),
        ),
    ] {
        assert_refused(ebb::command(arguments), &refused);
    }
}
