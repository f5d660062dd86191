//! Invalid input to `ebb watch`: one line names the cause, and the exit code is right.

use ebb_fixtures::{Case, Need, TestCgroup, ebb};

use crate::refused::{Refused, assert_refused};

pub(super) const CASES: &[Case] = &[Case::beside(
    "watch::wrong_input_is_named",
    &[Need::Ebb],
    wrong,
)];

fn wrong() {
    let cgroup = TestCgroup::new();
    let here = cgroup.path().to_str().expect("a path in UTF-8");
    for (arguments, refused) in [
        (vec!["watch"], Refused::usage(&["--cgroup"])),
        (
            vec!["watch", "--cgroup", "/nowhere"],
            Refused::input(&["/nowhere"]),
        ),
        (
            vec!["watch", "--cgroup", "/tmp"],
            Refused::input(&["/tmp", "cgroup"]),
        ),
        (
            vec!["watch", "--cgroup", here, "--ports", "0"],
            Refused::usage(&["--ports", "0"]),
        ),
        (
            vec!["watch", "--cgroup", here, "--ports", "70000"],
            Refused::usage(&["--ports", "70000"]),
        ),
        (
            vec!["watch", "--cgroup", here, "--interval", "0s"],
            Refused::usage(&["--interval", "0s"]),
        ),
        (
            vec!["watch", "--cgroup", here, "--interval", "1"],
            Refused::usage(&["--interval", "1"]),
        ),
    ] {
        assert_refused(ebb::command(arguments), &refused);
    }
}
