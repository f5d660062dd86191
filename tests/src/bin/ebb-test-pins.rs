//! A counter with pins and nothing else, for the tests of restarts and upgrades. It takes over existing pins, counts in one
//! cgroup, and prints its readings as JSON lines until it is killed.

use std::io::Write as _;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Parser;
use ebb_agent::Rules;
use ebb_agent::cgroup;
use ebb_agent::counter::Counter;
use ebb_agent::pins::{Pins, Version};
use serde_json::json;

/// Time between readings: short compared with the tests' waits, long compared with their measurements.
const EVERY: Duration = Duration::from_millis(20);

#[derive(Debug, Parser)]
struct Options {
    /// The directory of pins.
    #[arg(long)]
    pins: PathBuf,
    /// The cgroup to count in; without one, existing pins are taken over and nothing else happens.
    #[arg(long)]
    cgroup: Option<PathBuf>,
    /// Report that the maps have this layout.
    #[arg(long)]
    layout: Option<u32>,
    /// Report that the programs are of this build.
    #[arg(long)]
    build: Option<String>,
    /// Do not count this path.
    #[arg(long)]
    exclude_path: Vec<String>,
    /// End the counting of all pinned cgroups.
    #[arg(long)]
    detach: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let mut version = Version::current();
    version.layout = options.layout.unwrap_or(version.layout);
    version.build = options.build.unwrap_or(version.build);
    let pins = Pins::open_as(&options.pins, version)?;
    let (mut counter, adoption) = Counter::pinned(pins)?;
    if options.detach {
        for pod in counter.pods().collect::<Vec<_>>() {
            counter.detach(pod);
        }
    }
    let rules = Rules {
        ports: Vec::new(),
        exclude_paths: options.exclude_path,
    };
    let pod = match &options.cgroup {
        Some(path) => Some(match counter.find(cgroup::id(path)?) {
            Some(pod) => pod,
            None => counter.attach(path, &rules)?,
        }),
        None => None,
    };
    loop {
        let mut line = json!({
            "adopted": adoption.adopted,
            "exchanged": adoption.exchanged,
            "dropped": adoption.dropped,
            "layouts": adoption.layouts,
            "halfway": adoption.halfway,
            "counted": counter.pods().count(),
        });
        if let Some(pod) = pod {
            let reading = counter.read(pod)?;
            line["reading"] = json!({
                "since": counter.since(pod).map(|since| since.as_nanos() as u64),
                "exclude_paths": counter.rules(pod).map(|rules| &rules.exclude_paths),
                "started": reading.started,
                "completed": reading.completed,
                "aborted": reading.aborted,
                "excluded": reading.excluded,
                "in_flight": reading.in_flight,
                "connections": reading.connections,
            });
        }
        writeln!(std::io::stdout(), "{line}")?;
        thread::sleep(EVERY);
    }
}
