//! Authorization of reports about queued requests: the autoscaler accepts them only from the activator that they are
//! about.

use std::net::{IpAddr, Ipv4Addr};

use ebb_contract::{ActivatorReport, activator_report};
use ebb_e2e::agent::agent_token;
use ebb_e2e::report::{Line, trust};
use ebb_e2e::{activator_token, block_on};

use super::world::{Zero, shared};

pub(super) fn may_tell() {
    let zero = shared();
    let api = zero.world.api();
    let activator = activator_token(api, "activator-who");
    let agent = agent_token(api, "node-a");
    let own = report("activator-who");
    assert_eq!(post(&zero, activator_report::PATH, &activator, &own), 200);
    assert_eq!(
        post(
            &zero,
            activator_report::PATH,
            &activator,
            &report("activator-a")
        ),
        403,
        "for another one"
    );
    assert_eq!(
        post(&zero, activator_report::PATH, &agent, &own),
        403,
        "an agent"
    );
    let pods = r#"{"node": "", "boot": "b", "pods": []}"#;
    assert_eq!(
        post(&zero, ebb_contract::PATH, &activator, pods),
        403,
        "of pods"
    );
    assert_eq!(post(&zero, activator_report::PATH, "nonsense", &own), 401);
    assert_eq!(
        post(&zero, activator_report::PATH, &activator, "nonsense"),
        400
    );
    let long = " ".repeat(activator_report::MAX_BODY + 1);
    // The server may close the connection before the client receives the status, so a missing status is correct too.
    assert!(matches!(
        try_post(&zero, activator_report::PATH, &activator, &long),
        Some(413) | None
    ));
}

fn report(activator: &str) -> String {
    let report = ActivatorReport {
        activator: activator.to_owned(),
        // No request is sent to this address, because the report contains no ports.
        address: "10.200.0.2".to_owned(),
        boot: "b".to_owned(),
        leaving: true,
        ports: Vec::new(),
    };
    serde_json::to_string(&report).unwrap()
}

/// Posts a body, and returns the status of the response.
#[track_caller]
fn post(zero: &Zero, path: &str, token: &str, body: &str) -> u16 {
    try_post(zero, path, token, body).expect("an answer")
}

/// Posts a body, and returns the status of the response; `None` if the connection was aborted.
fn try_post(zero: &Zero, path: &str, token: &str, body: &str) -> Option<u16> {
    let (trust, port) = (trust(zero.world.api()), zero.world.replica().report_port());
    block_on(async {
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut line = Line::connect(trust, from, port).await.unwrap();
        let answered = line.post_to(path, Some(token), body.to_owned()).await;
        answered.ok().map(|(status, _)| status.as_u16())
    })
}
