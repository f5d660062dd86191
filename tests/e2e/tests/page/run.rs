//! The live page of `ebb run`.

use std::time::Duration;

use ebb_fixtures::browser::Browser;
use ebb_fixtures::client::Client;
use ebb_fixtures::ebb;
use ebb_fixtures::run::{Run, SOON};

pub(super) fn run() {
    let run = Run::sample(&["--target", "10"]);
    let page = run.page().expect("it has a page");
    let mut browser = Browser::open(&format!("http://{page}/"), (1300, 1000));
    browser.await_true(
        "the run",
        SOON,
        "document.getElementById('name').textContent === 'local/ebb-sample'",
    );
    let load = Client::hey_for(run.address(), "/?sleep=100", Duration::from_secs(20), 40);
    browser.await_true(
        "its copies",
        SOON,
        "Number(document.querySelector('#figures dd').textContent) >= 4",
    );
    // `ebb top` must show the same data from the same port.
    let mut top = ebb::command(["top", &format!("http://{page}"), "--once"]);
    let output = top.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("local/ebb-sample"),
        "{text}"
    );
    browser.await_true(
        "the page shows the settings",
        SOON,
        "[...document.querySelectorAll('#settings tbody tr')].some(row => \
         row.cells[1].textContent.startsWith('10 requests in flight') && row.cells[2].textContent === 'annotation')",
    );
    drop(load);
    run.finish();
}
