//! Prints the results of `cargo xtask bench kernel` as text.

use super::{Results, packets, requests};
use crate::table::{at_most, table};

pub(super) fn print(results: &Results) {
    if !results.requests.is_empty() {
        let header = [
            "requests, ns",
            "run in",
            "run out",
            "runs",
            "in all",
            "two empty",
            "ratio",
            "bound",
            "counted",
        ];
        println!("{}", table(header, results.requests.iter().map(request)));
    }
    if !results.packets.is_empty() {
        let header = ["packets, ns", "a run", "one empty", "ratio", "bound"];
        println!("{}", table(header, results.packets.iter().map(packet)));
    }
    println!(
        "runs of Ebb's programs for a pod that did not opt in: {}",
        results.runs_for_others
    );
}

fn request(figures: &requests::Figures) -> [String; 9] {
    [
        figures.row.to_owned(),
        format!("{:.0}", figures.requests_ns),
        format!("{:.0}", figures.responses_ns),
        format!("{:.2}", figures.runs_per_request),
        format!("{:.0}", figures.request_ns),
        format!("{:.0}", figures.two_empty_ns),
        format!("{:.2}", figures.ratio),
        match figures.at_most {
            _ if !figures.is_read() => "not read ✗".to_owned(),
            Some(bound) => at_most(figures.ratio, bound),
            None => String::new(),
        },
        format!("{:.1} %", figures.counted * 100.0),
    ]
}

fn packet(figures: &packets::Figures) -> [String; 5] {
    [
        figures.packet.to_owned(),
        format!("{:.0}", figures.run_ns),
        format!("{:.0}", figures.empty_ns),
        format!("{:.2}", figures.ratio),
        figures
            .at_most
            .map_or_else(String::new, |bound| at_most(figures.ratio, bound)),
    ]
}
