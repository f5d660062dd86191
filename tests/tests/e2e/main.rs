//! The end-to-end tests: what the product promises on Kubernetes, held against an API server, real servers and clients.
//!
//! They run on a real control plane where one is found (`KUBEBUILDER_ASSETS`, or envtest's usual folder), on a double
//! in this process otherwise, or where `EBB_TEST_CLUSTER=double` asks for it; the figures at the end say which it was.
//! `EBB_TEST_FULL=1` runs them with the times promised.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests panic, so that the backtrace stays"
)]

mod annotations;
mod burst;
mod config;
mod kinds;
mod leader;
mod metrics;
mod outage;
mod rbac;
mod rivals;
mod scale;
mod security;
mod silent;
mod size;
mod world;

use std::process::ExitCode;

use ebb_tests::cluster::{agent, back_end};
use ebb_tests::harness;

fn main() -> ExitCode {
    let listing = std::env::args().any(|argument| argument == "--list");
    if !listing {
        let agents = if agent::is_real() {
            "ebb-agent"
        } else {
            "a stand-in for ebb-agent"
        };
        harness::note(format!("back end: {} control plane, {agents}", back_end()));
    }
    let code = harness::main(
        [
            scale::CASES,
            annotations::CASES,
            rivals::CASES,
            config::CASES,
            kinds::CASES,
            burst::CASES,
            security::CASES,
            metrics::CASES,
            silent::CASES,
            leader::CASES,
            outage::CASES,
            size::CASES,
        ]
        .into_iter()
        .flatten()
        .copied(),
    );
    world::end();
    code
}
