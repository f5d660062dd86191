//! Prints the results of `cargo xtask bench overhead` as text.

use super::{
    Results,
    turns::{Against, Figures},
};
use crate::table::{at_least, at_most, table};

pub(super) fn print(results: &Results) {
    let header = [
        "work",
        "requests/s",
        "p99, ms",
        "CPU, µs",
        "throughput",
        "quartiles",
        "bound",
        "p99",
        "bound",
        "CPU",
    ];
    println!("{}", table(header, results.0.iter().flat_map(rows)));
}

fn rows(figures: &Figures) -> Vec<[String; 10]> {
    let none = String::new;
    let mut rows = vec![[
        format!("{}: bare", figures.work),
        format!("{:.0}", figures.bare_rate),
        format!("{:.2}", figures.bare_p99_ms),
        format!("{:.1}", figures.bare_cpu_us),
        none(),
        none(),
        none(),
        none(),
        none(),
        none(),
    ]];
    let p99 = figures.counted.p99;
    rows.push(row(
        "counted",
        &figures.counted,
        at_least(figures.counted.throughput, figures.throughput_at_least),
        figures
            .p99_at_most
            .map_or_else(none, |bound| at_most(p99, bound)),
    ));
    if let Some(proxy) = &figures.behind_queue_proxy {
        rows.push(row("behind queue-proxy", proxy, none(), none()));
    }
    rows
}

fn row(name: &str, against: &Against, throughput: String, p99: String) -> [String; 10] {
    let [low, high] = against.throughput_quartiles;
    [
        format!("  {name}"),
        format!("{:.0}", against.rate),
        format!("{:.2}", against.p99_ms),
        format!("{:.1}", against.cpu_us),
        format!("{:.3}", against.throughput),
        format!("{low:.3} to {high:.3}"),
        throughput,
        format!("{:.2}", against.p99),
        p99,
        format!("{:.3}", against.cpu),
    ]
}
