//! `ebb-kernel-check`: see [`ebb_tests::kernel_check`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ebb_tests::kernel_check::main()
}
