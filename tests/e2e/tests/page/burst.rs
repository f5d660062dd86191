//! The live page during a burst, during a change of the displayed workload, and during a restart of the autoscaler.

use std::time::{Duration, Instant};

use ebb_e2e::SOON;
use ebb_fixtures::browser::Browser;
use ebb_fixtures::note;

use crate::world::{FAST, FIVE, TEN, World};

/// The page must show a decision within this time: two intervals between the server's events, plus the browser's time.
const AT_ONCE: Duration = Duration::from_secs(2);

pub(super) fn burst() {
    let mut world = World::new(&["first"]);
    let url = format!("http://{}/", world.replica().status());
    let mut browser = Browser::open(&url, (1300, 1100));
    {
        let web = world.app("shop", "web", 1, &[FAST, TEN]);
        let _other = world.app("shop", "other", 1, &[FAST]);
        browser.await_true(
            "the list shows both workloads",
            SOON,
            "document.querySelectorAll('#list tbody tr').length === 2",
        );
        click(&mut browser, "web");
        browser.await_true(
            "the page shows the workload web",
            SOON,
            "document.getElementById('name').textContent === 'shop/web'",
        );
        browser.await_true(
            "the page shows the workload's chart",
            SOON,
            "document.querySelectorAll('#load path.line').length >= 3",
        );

        let in_panic = |shown: bool| {
            format!(
                "(getComputedStyle(document.getElementById('panic')).display !== 'none') === {shown}"
            )
        };
        browser.await_true("the page does not show panic mode", SOON, &in_panic(false));
        let traffic = web.traffic(FIVE);
        traffic.set(FIVE);
        web.world
            .replica()
            .await_workload("five are desired", SOON, ("shop", "web"), |view| {
                (view["desired_replicas"].as_u64() >= Some(5)).then_some(())
            });
        let decided = Instant::now();
        browser.await_true("five are desired", AT_ONCE, &desired("Number(value) >= 5"));
        note(format!(
            "the live page shows the new desired replicas {} ms after the HTTP API",
            decided.elapsed().as_millis()
        ));
        browser.await_true(
            "the page shows the reason of the decision",
            SOON,
            "/needs \\d+ pods|pods kept/.test(document.getElementById('why').textContent)",
        );
        browser.await_true("the page shows panic mode", SOON, &in_panic(true));
        browser.await_true(
            "the list shows at least five replicas",
            SOON,
            "/\\b[5-9]\\b/.test(document.querySelector('#list tr[data-chosen] td:nth-child(2)').textContent)",
        );
        browser.await_true(
            "the newest decision is the first in the table",
            SOON,
            "document.querySelector('#decisions tbody tr td:nth-child(3)').textContent >= '5'",
        );
        browser.await_true(
            "the settings show that the target is from an annotation",
            SOON,
            "[...document.querySelectorAll('#settings tbody tr')].some(row => \
             row.cells[0].textContent === 'target' && row.cells[2].textContent === 'annotation')",
        );
    }
    // From here on, the test selects another workload with the keyboard only.
    let app = world.app("shop", "third", 1, &[FAST]);
    browser.eval("document.body.focus()");
    browser.key("/");
    for letter in ["t", "h", "i", "r"] {
        browser.key(letter);
    }
    browser.await_true(
        "the filter leaves one workload",
        SOON,
        "document.querySelectorAll('#list tbody tr').length === 1 && \
         document.querySelector('#list a[href$=\"/third\"]') !== null",
    );
    browser.key("ArrowDown");
    browser.await_true(
        "the workload's link has the focus",
        SOON,
        "document.activeElement.matches('#list a[href$=\"/third\"]')",
    );
    browser.key("Enter");
    browser.await_true("it is selected", SOON, "location.hash.endsWith('/third')");
    browser.await_true(
        "the page shows the third workload",
        SOON,
        "document.getElementById('name').textContent === 'shop/third' && !document.getElementById('shown').hidden",
    );
    drop(app);
    browser.await_true(
        "the page reports that the workload is gone",
        SOON,
        "/gone/.test(document.getElementById('nothing').textContent)",
    );
    browser.eval("document.getElementById('filter').value = ''; 0");

    world.replicas[0].restart();
    browser.await_true(
        "the page is connected again",
        SOON,
        "'live' in document.getElementById('connection').dataset",
    );
    let app = world.app("shop", "after", 1, &[FAST]);
    browser.await_true(
        "the list shows the workload created after the restart",
        SOON,
        "document.querySelector('#list a[href$=\"/after\"]')",
    );
    click(&mut browser, "after");
    browser.await_true(
        "the page shows the selected workload",
        SOON,
        "document.getElementById('name').textContent === 'shop/after' && !document.getElementById('shown').hidden",
    );
    drop(app);
}

/// Selects a workload in the list.
fn click(browser: &mut Browser, name: &str) {
    browser.eval(&format!(
        "document.querySelector('#list a[href$=\"/{name}\"]').click()"
    ));
}

/// Returns a JavaScript expression: whether `condition` holds for the displayed value of "desired replicas".
fn desired(condition: &str) -> String {
    format!(
        "[...document.querySelectorAll('#figures div')].some(pair => {{ \
         const value = pair.children[1].textContent; \
         return pair.children[0].textContent === 'desired replicas' && ({condition}); }})"
    )
}
