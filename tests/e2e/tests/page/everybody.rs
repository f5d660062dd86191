//! Accessibility of the live page: it is usable without a mouse and without sight, as far as axe-core can check.

use ebb_e2e::SOON;
use ebb_fixtures::browser::Browser;
use ebb_fixtures::{note, npm};

use crate::world::{FAST, shared};

pub(super) fn accessible() {
    let world = shared();
    let app = world.app("everybody", "web", 1, &[FAST]);
    let traffic = app.traffic(2);
    traffic.set(2);
    let url = format!(
        "http://{}/#/everybody/Deployment.apps/web",
        world.replica().status()
    );
    let axe = std::fs::read_to_string(npm("axe-core").join("axe.min.js")).unwrap();
    let mut browser = Browser::open(&url, (1300, 1100));
    for (width, dark) in [(1300, false), (1300, true), (420, false)] {
        browser.dark(dark);
        browser.resize((width, 1100));
        browser.await_true(
            "the page shows the workload's chart",
            SOON,
            "document.querySelectorAll('#load path.line').length >= 3",
        );
        browser.eval(&axe);
        let found = browser.eval(
            "axe.run().then(all => ({passed: all.passes.length, broken: all.violations.map(one => \
             one.id + ': ' + one.nodes.map(node => node.html + ' ' + node.failureSummary).join(' | '))}))",
        );
        let broken = found["broken"].as_array().unwrap();
        assert!(broken.is_empty(), "{width} px, dark: {dark}: {broken:#?}");
        note(format!(
            "axe-core, page width {width} px, {} colour scheme: {} rules passed, none failed",
            if dark { "dark" } else { "light" },
            found["passed"]
        ));
    }
    // The keyboard alone must suffice to change the time that the chart displays.
    browser.eval("document.getElementById('moment').focus()");
    for _ in 0..30 {
        browser.key("ArrowLeft");
    }
    browser.await_true(
        "another moment is told",
        SOON,
        "/\\d\\d:\\d\\d/.test(document.getElementById('moment').getAttribute('aria-valuetext'))",
    );
    // A text must describe the chart for people who cannot see it.
    browser.await_true(
        "the chart in words",
        SOON,
        "/Now: in flight/.test(document.getElementById('load-text').textContent)",
    );
}
