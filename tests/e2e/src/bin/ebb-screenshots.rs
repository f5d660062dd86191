//! `ebb-screenshots FOLDER`: takes the README's screenshots of the live page, light and dark, during a demonstration.
//!
//! `ebb run` scales the sample server while the load changes in four phases, in less than two minutes. The load runs in
//! real time, so no two screenshots are the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use ebb_fixtures::browser::Browser;
use ebb_fixtures::client::Client;
use ebb_fixtures::run::Run;
use ebb_fixtures::{Need, eventually};

#[derive(Parser)]
struct Args {
    /// Folder for `page-light.png` and `page-dark.png`
    folder: PathBuf,
}

/// Width and height of a screenshot in pixels, readable in a README without zoom.
const SIZE: (u32, u32) = (1280, 900);
/// Phases of the load: number of concurrent requests, and duration.
const LOAD: [(u64, Duration); 4] = [
    (4, Duration::from_secs(20)),
    (60, Duration::from_secs(25)),
    (18, Duration::from_secs(35)),
    (34, Duration::from_secs(20)),
];

fn main() -> Result<()> {
    let args = Args::parse();
    for need in [Need::Ebb, Need::Tool("chromium"), Need::Tool("hey")] {
        if let Err(why) = need.check() {
            bail!("cannot take screenshots on this machine: {why}");
        }
    }
    let run = Run::sample(&[
        "--target",
        "10",
        "--annotation",
        "autoscaling.knative.dev/window=20s",
    ]);
    let page = run
        .page()
        .context("`ebb run` reports no address of a live page")?;
    let mut browser = Browser::open(&format!("http://{page}/"), SIZE);
    browser.resize(SIZE);
    for (at_a_time, time) in LOAD {
        let client = Client::hey_for(run.address(), "/?sleep=100", time, at_a_time);
        if (at_a_time, time) == LOAD[LOAD.len() - 1] {
            // The screenshots are taken in the middle of the last phase, when every curve changes.
            std::thread::sleep(time / 2);
            return take(&mut browser, &args.folder);
        }
        client.finish();
    }
    Ok(())
}

/// Takes the light and the dark screenshot, one immediately after the other.
fn take(browser: &mut Browser, folder: &Path) -> Result<()> {
    for (dark, name) in [(false, "page-light.png"), (true, "page-dark.png")] {
        browser.dark(dark);
        eventually("the chart", Duration::from_secs(10), || {
            let lines = browser.eval("document.querySelectorAll('#load path.line').length");
            (lines.as_u64() >= Some(4)).then_some(())
        });
        let picture = STANDARD.decode(browser.screenshot())?;
        let file = folder.join(name);
        fs::write(&file, picture).with_context(|| format!("cannot write {}", file.display()))?;
        println!("{}", file.display());
    }
    Ok(())
}
