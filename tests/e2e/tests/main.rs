//! End-to-end tests of Ebb's promises on Kubernetes, with an API server, real HTTP servers and real clients.
//!
//! The tests run on a real control plane if its programs are found (in `KUBEBUILDER_ASSETS`, or in envtest's usual
//! folder). Otherwise, or with `EBB_TEST_CLUSTER=double`, they run on an API server double in this process. The notes
//! at the end of the output name the control plane that was used. With `EBB_TEST_FULL=1`, the tests run for the
//! promised durations.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests panic on an error, so that a failed test has a backtrace"
)]

mod agent;
mod annotations;
mod burst;
mod config;
mod conflicts;
mod cost;
mod deploy;
mod hostile;
mod kinds;
mod leader;
mod light;
mod matrix;
mod metrics;
mod outage;
mod page;
mod prometheus;
mod rbac;
mod restart;
mod scale;
mod security;
mod size;
mod stale;
mod trust;
mod unavailable;
mod world;
mod zero;

use std::process::ExitCode;

use ebb_e2e::{agent as agents, back_end, bpffs, hosts};
use ebb_fixtures::net::private as network;

/// The packages of the programs that the tests start.
const PACKAGES: [&str; 5] = [
    "ebb",
    "ebb-activator",
    "ebb-agent",
    "ebb-autoscaler",
    "ebb-fixtures",
];

/// Most tests wait for windows and grace periods to pass. Five of them at the same time use half of two CPUs.
const AT_ONCE: usize = 5;

fn main() -> ExitCode {
    ebb_fixtures::build(&PACKAGES);
    let listing = std::env::args().any(|argument| argument == "--list");
    if !listing {
        // The mount namespace must be set up before the process has a second thread.
        let pins = bpffs::mount_private();
        if pins.is_ok()
            && let Err(error) = hosts::own()
        {
            ebb_fixtures::note(format!("the test run has no private host names: {error}"));
        }
        let network = match network::enter() {
            Ok(()) => "a private network".to_owned(),
            Err(error) => format!("the machine's network ({error})"),
        };
        let which = match (agents::is_real(), pins) {
            (Ok(()), Ok(())) => "ebb-agent".to_owned(),
            (Ok(()), Err(error)) => format!("ebb-agent without pins ({error})"),
            (Err(why), _) => format!("a stand-in for ebb-agent ({why})"),
        };
        ebb_fixtures::note(format!(
            "the tests run with: {} control plane, {which}, {network}",
            back_end()
        ));
    }
    let code = ebb_fixtures::main(
        [
            // Long tests that run in parallel with other tests are started first.
            zero::CASES,
            matrix::CASES,
            stale::CASES,
            outage::CASES,
            leader::CASES,
            rbac::CASES,
            security::CASES,
            scale::CASES,
            annotations::CASES,
            conflicts::CASES,
            config::CASES,
            kinds::CASES,
            metrics::CASES,
            prometheus::CASES,
            page::CASES,
            unavailable::CASES,
            deploy::CASES,
            restart::CASES,
            burst::CASES,
            agent::CASES,
            size::CASES,
            hostile::CASES,
        ]
        .into_iter()
        .chain(trust::CASES.iter().copied())
        .flatten()
        .copied(),
        AT_ONCE,
    );
    trust::end();
    zero::end();
    world::end();
    code
}
