//! Builds the kernel programs and tells the crate where the object is.

use std::process::ExitCode;

/// What the object depends on: the kernel side with the crate it shares with us, how it is built,
/// and the versions of what it is built from.
const INPUTS: [&str; 3] = ["../ebpf", "../ebpf-build", "../Cargo.lock"];

fn main() -> ExitCode {
    for input in INPUTS {
        println!("cargo:rerun-if-changed={input}");
    }
    for variable in ["EBB_BPF_TOOLCHAIN", "EBB_CACHE"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    match ebb_ebpf_build::build("../ebpf") {
        Ok(object) => {
            println!("cargo:rustc-env=EBB_KERNEL_OBJECT={}", object.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            // One line rather than anyhow's backtrace, which would bury it.
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}
